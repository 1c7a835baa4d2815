"""The rules of ICMP by family: look them up, do not branch on the family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from tunstack.ip import icmp, icmpv6

if TYPE_CHECKING:
    from collections.abc import Collection

    from tunstack.ip.datagram import Address, Datagram
    from tunstack.ip.icmp import IcmpMessage


class IcmpRules(Protocol):
    """The interface that :mod:`tunstack.ip.icmp` and :mod:`tunstack.ip.icmpv6` share."""

    @property
    def PROTOCOL(self) -> int:
        """The protocol number."""

    @property
    def ECHO_REQUEST(self) -> int:
        """A type."""

    @property
    def ECHO_REPLY(self) -> int:
        """A type."""

    def reply_to(
        self,
        datagram: Datagram,
        message: IcmpMessage,
        *,
        time: int = 0,
        broadcasts: Collection[Address] = (),
    ) -> IcmpMessage | None:
        """Return the reply to a request, if it is one that is answered."""

    def reply_options(self, datagram: Datagram, time: int, /) -> bytes:
        """Return the IP options of a reply."""

    def error_tos(self, tos: int, /) -> int:
        """Return the TOS of an error about a datagram with `tos`."""

    def port_unreachable(
        self, datagram: Datagram, *, broadcasts: Collection[Address] = ()
    ) -> IcmpMessage | None:
        """Return Port Unreachable; None where no error may be sent."""

    def protocol_unreachable(
        self, datagram: Datagram, pointer: int, /, *, broadcasts: Collection[Address] = ()
    ) -> IcmpMessage | None:
        """Return the error for an unknown protocol, named by octet `pointer`; None as above."""

    def parameter_problem(
        self,
        datagram: Datagram,
        pointer: int,
        code: int = 0,
        *,
        broadcasts: Collection[Address] = (),
    ) -> IcmpMessage | None:
        """Return Parameter Problem for octet `pointer`; None as above."""

    def reassembly_time_exceeded(
        self, first: Datagram, *, broadcasts: Collection[Address] = ()
    ) -> IcmpMessage | None:
        """Return Time Exceeded for an incomplete datagram; None as above."""

    def as_os_error(self, message: IcmpMessage) -> OSError | None:
        """Return the application's error; None if the message is not an error."""

    def is_hard(self, message: IcmpMessage) -> bool:
        """Whether a connected datagram socket is given the error without IP_RECVERR."""

    def is_told(self, message: IcmpMessage, /) -> bool:
        """Whether a datagram socket with IP_RECVERR is given the error."""

    def is_too_big(self, message: IcmpMessage) -> bool:
        """Whether it is the message of path MTU discovery."""

    def is_reassembly_timeout(self, message: IcmpMessage) -> bool:
        """Whether it is Time Exceeded for the reassembly of our fragments."""

    def is_acceptable(self, datagram: Datagram, message: IcmpMessage) -> bool:
        """Whether the message is valid in that datagram."""


RULES: Final[dict[int, IcmpRules]] = {4: icmp, 16: icmpv6}
"""By octets of an address."""
