"""Reasons to drop a packet, which are its counters' names, and the exception that carries one."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from tunstack.ip.datagram import Datagram

Problem: TypeAlias = "tuple[Datagram, int, int]"
"""A datagram with a wrong header, and the code and pointer of the ICMPv6 Parameter Problem.

Its headers are as they came, so that encoding it gives the packet; `protocol` is the upper-layer
protocol if the headers lead to one.
"""

_ACRONYMS: Final[set[str]] = {"ip", "tcp", "icmp", "udp", "vnet"}


class Reason(StrEnum):
    """A reason to drop a packet; its value is the name of the counter in the statistics.

    Those of the last group are the stack's, for valid packets: not for this host, or fragments of a
    datagram that is given up. The others are the codec's, for malformed ones, but that of fragments
    is the stack's as well: those that contradict others.
    """

    TRUNCATED = "truncated"
    BAD_VNET_HEADER = "bad_vnet_header"
    BAD_VERSION = "bad_ip_version"
    BAD_HEADER_LENGTH = "bad_ip_header_length"
    BAD_TOTAL_LENGTH = "bad_ip_total_length"
    BAD_IP_CHECKSUM = "bad_ip_checksum"
    BAD_IP_FLAGS = "bad_ip_flags"
    BAD_IP_OPTIONS = "bad_ip_options"
    BAD_EXTENSION_HEADER = "bad_extension_header"
    BAD_ROUTING_HEADER = "bad_routing_header"
    BAD_FRAGMENT = "bad_fragment"
    NO_NEXT_HEADER = "no_next_header"

    TRUNCATED_TCP = "truncated_tcp"
    BAD_TCP_CHECKSUM = "bad_tcp_checksum"
    BAD_TCP_OFFSET = "bad_tcp_offset"
    BAD_TCP_PORT = "bad_tcp_port"

    TRUNCATED_UDP = "truncated_udp"
    BAD_UDP_LENGTH = "bad_udp_length"
    BAD_UDP_CHECKSUM = "bad_udp_checksum"

    TRUNCATED_ICMP = "truncated_icmp"
    BAD_ICMP_CHECKSUM = "bad_icmp_checksum"
    BAD_ICMP_QUOTE = "bad_icmp_quote"
    BAD_ICMP_HOP_LIMIT = "bad_icmp_hop_limit"

    NOT_OUR_ADDRESS = "not_our_address"
    BAD_SOURCE = "bad_source_address"
    FRAGMENT_DUPLICATE = "fragment_duplicate"
    FRAGMENT_OVERLAP = "fragment_overlap"
    FRAGMENT_TIMEOUT = "fragment_timeout"
    FRAGMENT_MEMORY = "fragment_memory"
    UNKNOWN_PROTOCOL = "unknown_protocol"
    NO_UDP_PORT = "no_udp_port"
    UDP_BUFFER_FULL = "udp_buffer_full"

    @property
    def phrase(self) -> str:
        """The reason in words: ``"bad TCP checksum"``."""
        words = self.value.split("_")
        return " ".join(word.upper() if word in _ACRONYMS else word for word in words)


class Discard(Exception):
    """Raised for a packet that is to be dropped, and counted.

    Attributes:
        reason: The reason, and its counter.
        problem: What to tell its source by an ICMPv6 Parameter Problem (RFC 4443 section 3.4), if
            it is for us and no ICMPv6 error itself; None, as for nearly all: it is dropped
            silently. Of a datagram to a multicast address it is there only where it is to be told
            all the same (RFC 4443 section 2.4 e.3).
    """

    def __init__(self, reason: Reason, problem: Problem | None = None) -> None:
        super().__init__(reason.phrase)
        self.reason = reason
        self.problem = problem
