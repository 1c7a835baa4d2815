"""Rules on packets: what the wire between a host and its network does wrong, packet by packet.

packet       one IP packet as rules see it, and what answers it
fields       the fields of a packet that can be replaced
numbers      checks of the numbers that rules are given
known        what the host knows of a packet's connection
headers      the transport headers of a packet, read and written again
flags        TCP's control bits by name
icmp_errors  ICMP errors by name, in both families
selection    which packets a rule applies to
actions      what a rule does to them: the interface of actions; drop, call
waiting      delay, hold, postpone, impair
changing     change, damage, split, duplicate
answering    answer in the stack's place
rule         a rule, as its user holds it
rules        the rules of a host: adding them, injecting packets
bound        rules that end with their connection
silence      the connections that have vanished
gate         the rules that a packet passes, and the packets that wait, sans-IO
link         any link with such a gate before it

What they do is counted, packet by packet, in the statistics of a host:

=====================  =============================================================================
``rules_dropped``      by `Rules.drop`, or of a connection that has vanished
``rules_delayed``      by `Rules.delay`, and by an impaired path
``rules_held``         by `Rules.hold`
``rules_postponed``    by `Rules.postpone`
``rules_duplicated``   by `Rules.duplicate`, whatever the number of copies; by an impaired path
``rules_damaged``      by `Rules.damage`, and by an impaired path
``rules_changed``      by `Rules.change`, and by a function of `Rules.call` that returned another
``rules_split``        by `Rules.split`
``rules_answered``     by `Rules.answer`
``rules_taken``        a function of `Rules.call` returned nothing
``rules_lost``         on an impaired path, or in its full queue
``rules_injected``     by `Rules.inject`
``rules_unplugged``    lost while the cable was unplugged
``rules_overflowed``   dropped, as too many packets waited for rules, or for a full link
``rules_refused``      dropped, as the link does not carry what a rule has made: too long, or no IP
``rule_failed``        dropped, as a function of a rule raised an exception
=====================  =============================================================================
"""

from tunstack.path.rules.packet import Packet
from tunstack.path.rules.rule import Rule
from tunstack.path.rules.rules import Rules
from tunstack.path.rules.selection import Selection

__all__ = ["Packet", "Rule", "Rules", "Selection"]
