"""The configuration of a connection, fitted to the link and to the family of its addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tunstack.ip.family import FAMILIES, Family, family_of
from tunstack.ip.prefixes import PrefixMap
from tunstack.stack.flow import TCP_HEADER
from tunstack.tcp.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunstack.ip.address import Network
    from tunstack.ip.datagram import Address
    from tunstack.stack.profile import Profile

_LARGEST_PACKET: Final = 0xFFFF
_LARGEST_TCP_HEADER: Final = 60
_ASSUMED: Final[int] = Config().default_send_mss
_OF_FAMILY: Final[dict[int, tuple[tuple[str, str], ...]]] = {
    4: (),
    6: (("ttl", "hop_limit"), ("tos", "traffic_class")),
}
"""By IP version: fields of `Config` that take another field's value in that family."""
_TTL_OF_SIZE: Final = {4: "ttl", 16: "hop_limit"}
"""The field by octets of an address."""
_DEFAULT_TTL: Final[int] = Config().ttl
_KEPT: Final = 256
"""Fitted configurations that are cached for each family."""


class _Profiled:
    """A profile of a prefix, and the configurations that were fitted to it.

    Attributes:
        profile: The profile.
        fitted: The configurations by those before.
    """

    __slots__ = ("fitted", "profile")

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.fitted: dict[Config, Config] = {}


class Configs:
    """Fits configurations to a link and a family.

    Attributes:
        mtu: The largest packet that the link carries, in octets.
    """

    def __init__(
        self, mtu: int, *, offload: bool, profiles: Mapping[Network, Profile] | None = None
    ) -> None:
        """Make it for a link of `mtu`, which with `offload` cuts large segments itself.

        Of several of `profiles` with an address, that of the longest prefix applies.
        """
        self.mtu = mtu
        self._profiles: PrefixMap[_Profiled] | None = None
        if profiles:
            self._profiles = PrefixMap([(each, _Profiled(profiles[each])) for each in profiles])
        self._offload = offload
        smallest = min(family.header for family in FAMILIES)
        self._fitted: dict[int, dict[Config, Config]] = {
            family.address_size: {} for family in FAMILIES if family.header > smallest
        }
        """By octets of an address, other than that of :meth:`base`."""

    def check(self, family: Family) -> None:
        """Raise ValueError if `family` cannot be used over the link (RFC 8200 section 5)."""
        if self.mtu < family.minimum_mtu:
            raise ValueError(
                f"MTU {self.mtu}: {family.name} needs {family.minimum_mtu} octets or more"
            )

    def base(self, config: Config) -> Config:
        """Return `config` fitted for the family with the smallest header."""
        largest = config.max_payload or (_LARGEST_PACKET if self._offload else 0)
        return self._fit(replace(config, max_payload=largest), FAMILIES[0])

    def fitted(self, config: Config, local: Address) -> Config:
        """Return `config`, which :meth:`base` returned, fitted for a connection from `local`."""
        if self._profiles is not None and (own := self._profiles.get(local)) is not None:
            return self._profiled(config, own, local)
        known = self._fitted.get(len(local))
        if known is None:
            return config
        found = known.get(config)
        if found is None:
            if len(known) >= _KEPT:
                known.clear()
            found = known[config] = self._fit(config, family_of(local))
        return found

    def ttl(self, local: Address) -> int:
        """Return the TTL, or hop limit, of what is sent from `local` but not by a connection."""
        own = None if self._profiles is None else self._profiles.get(local)
        default = _DEFAULT_TTL
        if own is not None:
            default = own.profile.parameters.get(_TTL_OF_SIZE[len(local)], default)
        return default

    def _profiled(self, config: Config, profiled: _Profiled, local: Address) -> Config:
        known = profiled.fitted
        found = known.get(config)
        if found is None:
            if len(known) >= _KEPT:
                known.clear()
            given = profiled.profile.parameters
            changes = {name: given[name] for name in given if name not in config.chosen}
            found = known[config] = self._fit(replace(config, **changes), family_of(local))
        return found

    def _fit(self, config: Config, family: Family) -> Config:
        most = _LARGEST_PACKET - family.header - _LARGEST_TCP_HEADER
        assumed = config.default_send_mss
        own = {name: getattr(config, source) for name, source in _OF_FAMILY[family.version]}
        return replace(
            config,
            **own,
            mss=min(config.mss, self.mtu - family.header - TCP_HEADER),
            max_payload=min(config.max_payload, most),
            default_send_mss=family.default_mss if assumed == _ASSUMED else assumed,
        )
