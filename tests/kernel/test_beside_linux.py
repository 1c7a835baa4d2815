"""The tools of a network engineer see the same of a host of ours as of a Linux host.

Each command runs in a private network against either, over the same path; what it prints is
compared line by line, but for times, and so are the packets that come back. Where the two differ
and are to differ:

- The window and the window scale of a SYN-ACK: Linux's follow its tcp_rmem, ours `Config`.
- First fragments without a whole transport header, as ``nmap -f`` sends them, are dropped here.
- IGMP, PIM and UDP-Lite are protocols that this kernel speaks.
- The identification of what is not to be fragmented, which RFC 6864 gives no meaning, is 0 here;
  Linux's datagrams and segments of connections count.
- A neighbour solicitation, as ``nmap -6 -O`` sends it to a device without link-layer addresses, is
  ignored here.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from tests.kernel.beside import BOTH
from tests.kernel.carried import V4, V6, client
from tunstack.ip.datagram import ICMP, ICMPV6, TCP
from tunstack.wire import Discard, decode_datagram, decode_icmp, decode_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kernel.beside import Who

pytestmark = pytest.mark.kernel

# What is compared

_TIMES: Final = (
    (re.compile(r"[0-9.]+ ?ms|\([0-9.]+s latency\)|[0-9.]+ seconds"), "TIME"),
    (re.compile(r"^(rtt|Starting Nmap|Host is up, received user-set).*", re.MULTILINE), r"\1"),
    (re.compile(r"\t\d+( absolute| not-standard)?$", re.MULTILINE), r"\tTIME\1"),
    (re.compile(r" {2,}"), "  "),
)


def without_times(text: str) -> list[str]:
    for pattern, replacement in _TIMES:
        text = pattern.sub(replacement, text)
    return text.splitlines()


def summary(packet: bytes) -> tuple[Any, ...] | None:
    """What counts of a packet; None for what a kernel asks of routers."""
    datagram = decode_datagram(packet)
    if len(datagram.dst) == 16 and datagram.dst[0] == 0xFF:
        return None
    ip = (
        datagram.ttl,
        datagram.tos,
        datagram.identification != 0 or datagram.dont_fragment,
        datagram.dont_fragment,
        datagram.more_fragments,
        datagram.fragment_offset,
        datagram.flow_label != 0,
        datagram.protocol,
        len(datagram.payload),
        datagram.options[:3],
    )
    if datagram.more_fragments or datagram.fragment_offset:
        return ip
    if datagram.protocol in (ICMP, ICMPV6):
        try:
            message = decode_icmp(datagram)
        except Discard:  # It quotes a packet without a payload.
            return (*ip, bytes(datagram.payload[:2]), bytes(datagram.payload[4:10]))
        quoted = message.quoted
        if quoted is None:
            return (*ip, message.type, message.code)
        about = (quoted.protocol, quoted.tos, len(quoted.payload))
        return (*ip, message.type, message.code, message.rest, message.quoted_length, about)
    if datagram.protocol == TCP:
        _, _, segment = decode_segment(datagram)
        options = (segment.mss, segment.sack_permitted, segment.wscale is None, segment.sack)
        return (*ip, segment.flags, segment.seq == 0, segment.ts_val is None, options)
    return ip


ROUTES: Final = "-n -N1 -q2 -w2"
COMMANDS: Final[dict[str, list[str]]] = {
    "ping": [
        f"ping -n -c2 -i0.5 -s20000 {V4}",
        f"ping -6 -n -c2 -i0.5 -s20000 {V6}",
        f"ping -n -c1 -t1 {V4}",
        f"ping -6 -n -c1 -t1 {V6}",
        f"ping -n -c1 -Mdo -s1472 {V4}",
        f"ping -n -c1 -Q0x2e {V4}",
        f"ping -6 -n -c1 -Q0x2e -F0x12345 {V6}",
        f"ping -n -c1 -R {V4}",
        f"ping -n -c1 -R -s1000 {V4}",
        f"ping -n -c1 -T tsonly {V4}",
        f"ping -n -c1 -T tsandaddr {V4}",
        f"ping -n -c1 -T tsprespec {V4} {V4}",
    ],
    "tracepath": [f"tracepath -n {V4}", f"tracepath -6 -n {V6}"],
    "traceroute": [
        f"traceroute {ROUTES} {V4}",
        f"traceroute {ROUTES} {V4} 3000",
        f"traceroute {ROUTES} -t 0x2e {V4}",
        f"traceroute {ROUTES} --mtu {V4}",
        f"traceroute {ROUTES} -U {V4}",
        f"traceroute {ROUTES} -U -p 9 {V4}",
        f"traceroute {ROUTES} -I {V4}",
        f"traceroute {ROUTES} -T -p 80 {V4}",
        f"traceroute {ROUTES} -T -p 81 {V4}",
        f"traceroute {ROUTES} -P 132 {V4}",
        f"traceroute -6 {ROUTES} {V6}",
        f"traceroute -6 {ROUTES} {V6} 3000",
        f"traceroute -6 {ROUTES} -t 0x2e {V6}",
        f"traceroute -6 {ROUTES} --mtu {V6}",
        f"traceroute -6 {ROUTES} -U {V6}",
        f"traceroute -6 {ROUTES} -I {V6}",
        f"traceroute -6 {ROUTES} -T -p 80 {V6}",
        f"traceroute -6 {ROUTES} -T -p 81 {V6}",
        f"traceroute -6 {ROUTES} -P 132 {V6}",
    ],
    "nmap": [
        f"nmap -n -Pn --reason -sU -p7,9,19,1-40 {V4}",
        f"nmap -6 -n -Pn --reason -sU -p7,9,19,1-40 {V6}",
        f"nmap -n -Pn --reason -sS -p1-1000 {V4}",
        f"nmap -6 -n -Pn --reason -sS -p1-1000 {V6}",
        f"nmap -n -Pn --reason -sA -p79-81 {V4}",
        f"nmap -n -Pn --reason -sY -p79-81 {V4}",
        f"nmap -n -Pn --reason -sO -p47,58,132,253 {V4}",
        f"nmap -6 -n -Pn --reason -sO -p44,47,132,253 {V6}",
        f"nmap -n -sn --reason -PP {V4}",
    ],
}


@pytest.mark.parametrize("tool", COMMANDS)
async def test_a_tool_prints_the_same_of_both(
    require_tool: Callable[[str], str], tool: str
) -> None:
    path = require_tool(tool)
    printed: dict[Who, dict[str, list[str]]] = {}
    packets: dict[Who, dict[str, set[tuple[Any, ...]]]] = {}

    async def try_on(who: Who) -> None:
        printed[who], packets[who] = {}, {}
        async with client(who) as at:
            for command in COMMANDS[tool]:
                at.came.clear()
                text = await at.run([path, *command.split()[1:]])
                printed[who][command] = without_times(text)
                packets[who][command] = set(filter(None, map(summary, at.came)))

    async with trio.open_nursery() as nursery:
        for who in BOTH:
            nursery.start_soon(try_on, who)
    assert printed["ours"] == printed["kernel"]
    assert packets["ours"] == packets["kernel"]
    assert all(packets["ours"].values()), "each command is answered"


@pytest.mark.parametrize("address", [V4, V6], ids=["IPv4", "IPv6"])
async def test_errors_are_paced_by_default_as_linux_paces_them(address: str) -> None:
    """Six at once; of IPv6 there are ten a second besides, of which a busy machine may see some."""
    told: dict[Who, int] = {}
    family = socket.AF_INET if address == V4 else socket.AF_INET6
    for who in BOTH:
        async with client(who, limited=True) as at:
            with at.namespace.socket(family, socket.SOCK_DGRAM) as sock:
                for _ in range(50):
                    await sock.sendto(b"anybody?", (address, 9))
                await at.answers_to(sock, address)
            came = [decode_datagram(each) for each in at.came]
            errors = [each for each in came if each.protocol in (ICMP, ICMPV6)]
            told[who] = len([each for each in errors if each.dst[0] != 0xFF])
    if address == V4:
        assert told == {"ours": 6, "kernel": 6}
    assert 6 <= min(told.values()) <= max(told.values()) < 20
