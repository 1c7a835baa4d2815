"""Rules on packets: what the wire between a host and its network does wrong, packet by packet.

packet       one IP packet as rules see it, and what answers it
fields       the fields of a packet that can be replaced
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
gate         the rules that a packet passes, and the packets that wait, sans-IO
link         any link with such a gate before it
"""

from tunstack.path.rules.packet import Packet
from tunstack.path.rules.rule import Rule
from tunstack.path.rules.rules import Rules
from tunstack.path.rules.selection import Selection

__all__ = ["Packet", "Rule", "Rules", "Selection"]
