"""Offload, multi-queue, IPv6, names: as tried in a throw-away namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tunstack.deploy.diagnosis.finding import Finding
from tunstack.deploy.diagnosis.machine import apparmor_profile, container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.deploy.diagnosis.trials import Trials

_TOPIC: Final = "Features"


class _Feature(NamedTuple):
    """A feature of devices.

    Attributes:
        trial: Its trial.
        text: What there is where it succeeds.
        lost: What there is where it fails.
        advice: What to do then.
    """

    trial: str
    text: str
    lost: str
    advice: str


_FEATURES: Final = (
    _Feature(
        "vnet header",
        "packets with checksums and sizes left to the device",
        "every packet is checksummed and at most an MTU",
        "use a newer kernel, for its throughput; all else works",
    ),
    _Feature(
        "TCP offload",
        "segments of up to 64 KiB, both ways",
        "segments of at most an MTU",
        "use a newer kernel, for its throughput; all else works",
    ),
    _Feature(
        "UDP offload",
        "datagrams of one size at once (USO)",
        "a packet for each datagram",
        "use Linux 6.2 or newer, for its throughput; all else works",
    ),
    _Feature(
        "multi-queue",
        "several workers on one address",
        "no workers",
        "leave out --workers and open_workers, or use a newer kernel",
    ),
)
"""Of a device that can be made at all."""


def feature_findings(trials: Trials) -> Iterator[Finding]:
    """The device's features, IPv6, and names."""
    refused = trials.outcome("device")
    if refused is None:
        yield Finding(_TOPIC, "device", "ok", "made in a throw-away network namespace")
        for each in _FEATURES:
            error = trials.outcome(each.trial)
            if error is None:
                yield Finding(_TOPIC, each.trial, "ok", each.text)
            else:
                text = f"{each.lost} ({error[1]})"
                yield Finding(_TOPIC, each.trial, "warning", text, each.advice)
    else:
        text = f"cannot be made in a network namespace: {refused[1]}"
        advice = "see the failures above; offload and multi-queue were not tried"
        yield Finding(_TOPIC, "device", "failure", text, advice)
    if trials.outcome("network namespace") and trials.outcome("user namespace"):
        return  # Nothing else could be tried.
    yield from _others(trials)


def _others(trials: Trials) -> Iterator[Finding]:
    error = trials.outcome("IPv6")
    if error is None:
        yield Finding(_TOPIC, "IPv6", "ok", "both families")
    else:
        advice = "as root: 'sysctl -w net.ipv6.conf.all.disable_ipv6=0', or boot a kernel with IPv6"
        yield Finding(_TOPIC, "IPv6", "warning", f"IPv4 only: {error[1]}", advice)
    error = trials.outcome("parameters")
    if error is None:
        text = "kernel parameters of a namespace can be set"
        yield Finding(_TOPIC, "sysctl", "ok", text)
    else:
        text = f"no sysctl can be set, so one host in a namespace only: {error[1]}"
        advice = "open a namespace for each host"
        if container():
            advice += ", or start the container with '--security-opt systempaths=unconfined'"
        yield Finding(_TOPIC, "sysctl", "warning", text, advice)
    yield _names(trials)


def _names(trials: Trials) -> Finding:
    error = trials.outcome("resolv.conf")
    if error is None:
        text = "programs in a namespace find tunstack's names"
        return Finding(_TOPIC, "names", "ok", text)
    text = f"programs in a namespace find the machine's names only: mount: {error[1]}"
    advice = "use addresses in place of names as peer.test, or run as root"
    if container() or apparmor_profile():
        advice += "; in a container: '--security-opt apparmor=unconfined'"
    return Finding(_TOPIC, "names", "warning", text, advice)
