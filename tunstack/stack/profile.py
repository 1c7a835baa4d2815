"""Profiles: parameters of connections by local address or prefix."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from tunstack.compiled import reduced
from tunstack.tcp.congestion import congestion_control

if TYPE_CHECKING:
    from tunstack.tcp.congestion import CongestionFactory

_RANGES: Final[dict[str, range]] = {
    "mss": range(1, 0x10000),
    "receive_buffer": range(1, 1 << 30),
    "receive_buffer_max": range(1, 1 << 30),
    "send_buffer": range(1, 1 << 30),
    "ttl": range(1, 256),
    "hop_limit": range(1, 256),
    "tos": range(256),
    "traffic_class": range(256),
    "ecn": range(3),
    "initial_window": range(1, 0x10000),
}


@dataclass(slots=True, frozen=True, kw_only=True)
class Profile:
    """The parameters of connections from some addresses of a host, where they differ from its own.

    A parameter that is None is the host's. Socket options replace a profile's. For units and
    defaults see `tunstack.Config`.

    Attributes:
        mss: The largest MSS that is announced; the link's MTU limits it too.
        ttl: Time to live of IPv4, and hop limit of IPv6 unless `hop_limit` is given.
        hop_limit: Of IPv6.
        tos: The TOS octet of IPv4, and traffic class of IPv6 unless `traffic_class` is given.
        traffic_class: Of IPv6.
        receive_buffer: The size of the receive buffer, which bounds the window.
        receive_buffer_max: Its largest size by auto-tuning, which decides on the window scale: 7 up
            to 8 MiB, 8 up to 16 MiB.
        send_buffer: The size of the send buffer.
        timestamps: Whether to use timestamps (RFC 7323).
        window_scaling: Whether to use window scaling.
        sack: Whether to use SACK (RFC 2018).
        ecn: 0 off, 1 requested and accepted, 2 only accepted.
        initial_window: In segments.
        congestion: The congestion control: a name, or what makes one of your own.

    Raises:
        ValueError: a value is out of range; there is no congestion control of that name.
    """

    mss: int | None = None
    ttl: int | None = None
    hop_limit: int | None = None
    tos: int | None = None
    traffic_class: int | None = None
    receive_buffer: int | None = None
    receive_buffer_max: int | None = None
    send_buffer: int | None = None
    timestamps: bool | None = None
    window_scaling: bool | None = None
    sack: bool | None = None
    ecn: int | None = None
    initial_window: int | None = None
    congestion: str | CongestionFactory | None = None

    parameters: dict[str, Any] = field(init=False, repr=False, compare=False)
    """Values that differ from the host's, by the names of `Config`."""

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in PARAMETERS}
        parameters = {name: value for name, value in given.items() if value is not None}
        for name, allowed in _RANGES.items():
            if name in parameters and parameters[name] not in allowed:
                raise ValueError(
                    f"{name} is {parameters[name]!r}: choose from {allowed[0]} to {allowed[-1]}"
                )
        for name, of_ipv6 in (("ttl", "hop_limit"), ("tos", "traffic_class")):
            if name in parameters:
                parameters.setdefault(of_ipv6, parameters[name])
        if self.congestion is not None:
            parameters["congestion"] = congestion_control(self.congestion)
        object.__setattr__(self, "parameters", parameters)  # The class is frozen.

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle its arguments, for workers."""
        return reduced(self)

    @classmethod
    def linux(cls) -> Profile:
        """As Linux: TTL 64, timestamps and SACK, a window scale of 7."""
        return cls(ttl=64, timestamps=True, sack=True, receive_buffer_max=6 << 20)

    @classmethod
    def windows(cls) -> Profile:
        """As Windows 10: TTL 128, SACK, no timestamps, a window scale of 8.

        The order of options in a SYN remains Linux's.
        """
        return cls(ttl=128, timestamps=False, sack=True, receive_buffer_max=15 << 20)


PARAMETERS: Final[frozenset[str]] = frozenset(each.name for each in fields(Profile) if each.init)
"""The fields of `Config` that a profile can set."""
