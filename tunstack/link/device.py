"""Make, attach and configure a TUN device in the network namespace of the calling thread.

This runs in the stack's own process for :func:`tunstack.link.tun.open_tun`, and in the holder of a
private namespace (:mod:`tunstack.link.holder`), which must start fast: so pytun does what it can,
`ioctl` the few things that pytun has no words for in IPv4 (see netdevice(7)), one netlink message
what needs no more rights than that, and pyroute2, whose import takes longer than all the rest
together, is not needed.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tunstack.link.base import VNET_HEADER_SIZE
from tunstack.link.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Interface

IFF_UP: Final = 0x1
IFF_TUN: Final = 0x1
IFF_MULTI_QUEUE: Final = 0x100
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
_SIOCGIFCONF: Final = 0x8912
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914

# A link's request by rtnetlink(7): struct nlmsghdr, struct ifinfomsg, and one attribute, u32.
_LINK_REQUEST: Final = struct.Struct("=IHHII BxHiII HHI")
_RTM_NEWLINK: Final = 16
_NLM_F_REQUEST_ACK: Final = 0x5
_IFLA_TXQLEN: Final = 13
_SIOCGIFNETMASK: Final = 0x891B
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GLINK: Final = 0x0A
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETHDRSZ: Final = 0x400454D8
_TCP_OFFLOAD: Final = 0x1 | 0x2 | 0x4 | 0x8
"""Checksums, TSO for IPv4 and IPv6, and TSO of segments with CWR (linux/if_tun.h)."""
_UDP_OFFLOAD: Final = 0x20 | 0x40

# struct ifreq: a name of 16 bytes, and a union as large as its member `struct ifmap`.
_IFREQ_SIZE: Final = 16 + (24 if struct.calcsize("P") == 8 else 16)


class TunRequest(NamedTuple):
    """A TUN device that is wanted, of plain values that travel to the holder.

    Attributes:
        name: Its name; empty for one that the kernel chooses.
        address: Our address, which the kernel is to reach through the device.
        peer: The kernel's own address on the device.
        prefix: Length of the network prefix of both, in bits.
        mtu: In bytes; None for what the device has (1500 when new).
        node: Path of the device node.
        offload: Whether the kernel shall leave segmentation and checksums to us, where it can.
    """

    name: str
    address: str
    peer: str
    prefix: int
    mtu: int | None
    node: str
    offload: bool = False


QUEUE_LENGTH: Final = 16_384
"""Packets for us that a device of ours holds before it drops any.

A new one holds 500, less than a window: where several senders fill theirs while our process waits
to run, it dropped 8,600 of 63,900. The largest window that opens by itself, 6 MiB, is 4,345
segments of an MTU of 1500, and 11,738 of the smallest usual one, 576.
"""


def make_tun(wanted: TunRequest, more_flags: int = 0) -> tuple[int, str, int, bool]:
    """Make the device, or attach to a persistent one of that name, and bring it up.

    A device that has an IPv4 address keeps it, one that is up is not brought up: so a user without
    privileges can attach to a device that was made ready for them.

    Args:
        wanted: What it is to be like.
        more_flags: Flags of TUNSETIFF beside those that every device of ours has.

    Returns:
        A descriptor (which is the caller's to close), the device's name, its MTU in bytes, and
        whether its packets have a virtio header, by which segmentation and checksums are offloaded.

    Raises:
        SetupError: with one line that says what to do.
    """
    import pytun  # here, as the holder answers before it needs it

    _check_node(wanted.node)
    exists = wanted.name in (name for _, name in socket.if_nameindex())
    held = held_addresses()
    if wanted.name not in (name for name, _ in held):
        _check_overlap(wanted, held)

    def attach(flags: int) -> Any:
        return pytun.TunTapDevice(name=wanted.name, flags=flags | more_flags, dev=wanted.node)

    try:
        device, offload = attach_device(attach, wants_offload=wanted.offload)
    except OSError as error:
        raise _attach_error(wanted, error, exists, more_flags) from error
    try:
        _configure(device, wanted)
        if not exists:
            _set_queue_length(device.name)
        return os.dup(device.fileno()), device.name, device.mtu, offload
    except OSError as error:
        raise SetupError(
            f"cannot configure the device {device.name}: {error}: "
            "run as root, or have its owner give it an address and bring it up"
        ) from error
    finally:
        device.close()


def attach_device(attach: Callable[[int], Any], *, wants_offload: bool) -> tuple[Any, bool]:
    """Attach to a device, with offload if it is wanted and the kernel can; else without.

    Args:
        attach: Makes the device with the flags that it is given, as pytun does.
        wants_offload: Whether to try.

    Returns:
        The device, and whether its packets have a virtio header.

    Raises:
        OSError: the kernel refuses the device even without offload.
    """
    plain = IFF_TUN | IFF_NO_PI
    if wants_offload:
        with suppress(OSError):  # An old kernel does not know the flag; tell of the rest below.
            device = attach(plain | IFF_VNET_HDR)
            if enable_offload(device.fileno()):
                return device, True
            device.close()
    device = attach(plain)
    with suppress(OSError):  # A persistent device keeps what whoever had it before has set.
        fcntl.ioctl(device.fileno(), _TUNSETOFFLOAD, 0)
    return device, False


def enable_offload(fd: int) -> bool:
    """Tell the kernel what it may leave to us; returns whether it does at least TCP.

    From then on it hands over TCP segments of up to 64 KiB with their checksums left out, and takes
    the same. What comes before each packet is the 10 octets of struct virtio_net_hdr.
    """
    try:
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER_SIZE))
    except OSError:
        return False
    for features in (_TCP_OFFLOAD | _UDP_OFFLOAD, _TCP_OFFLOAD):
        try:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, features)
        except OSError:
            continue  # UDP since Linux 6.2
        return True
    return False


def _control() -> closing[socket.SocketType]:
    """A socket of the kernel's for requests about interfaces.

    Not a `socket.socket`, which a host's socket factory replaces within its block.
    """
    return closing(socket.SocketType(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))


def bring_up(name: str) -> None:
    """Set the interface `name` up, as `ip link set NAME up` does.

    Raises:
        OSError: there is no such interface, or no permission.
    """
    with _control() as control:
        flags = _flags(control, name)
        fcntl.ioctl(control, _SIOCSIFFLAGS, _ifreq(name, struct.pack("H", flags | IFF_UP)))


def _set_queue_length(name: str) -> None:
    """Let the kernel hold `QUEUE_LENGTH` packets until we read them, as `ip link` does.

    There is an ioctl for it, but only for root outside of all user namespaces.

    Raises:
        OSError: there is no such interface, or no permission.
    """
    header = _LINK_REQUEST.size, _RTM_NEWLINK, _NLM_F_REQUEST_ACK, 0, 0
    interface = socket.AF_UNSPEC, 0, socket.if_nametoindex(name), 0, 0
    request = _LINK_REQUEST.pack(*header, *interface, 8, _IFLA_TXQLEN, QUEUE_LENGTH)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as control:
        control.send(request)
        (error,) = struct.unpack_from("=i", control.recv(4096), 16)  # struct nlmsgerr
    if error:
        raise OSError(-error, os.strerror(-error))


def is_in_use(name: str) -> bool:
    """Whether there is an interface `name` with a carrier: a TUN device that someone has open.

    IFF_RUNNING tells the same, but up to a second late.
    """
    answer = array.array("I", (_ETHTOOL_GLINK, 0))  # struct ethtool_value
    request = _ifreq(name, struct.pack("P", answer.buffer_info()[0]))
    with _control() as control:
        try:
            fcntl.ioctl(control, _SIOCETHTOOL, request)
        except OSError:  # no such interface
            return False
    return bool(answer[1])


def held_addresses() -> list[tuple[str, IPv4Interface]]:
    """List the IPv4 addresses that this namespace has, each with its interface's name."""
    from ipaddress import IPv4Interface

    with _control() as control:
        buffer = array.array("B", bytes(_IFREQ_SIZE * 1024))
        request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
        (used,) = struct.unpack_from("i", fcntl.ioctl(control, _SIOCGIFCONF, request))
        held = []
        for start in range(0, used, _IFREQ_SIZE):
            entry = bytes(buffer[start : start + _IFREQ_SIZE])
            # The request names the address too, so that the mask is that of this very address.
            mask = fcntl.ioctl(control, _SIOCGIFNETMASK, entry)[20:24]
            label = entry[:16].rstrip(b"\0").decode().partition(":")[0]
            text = f"{socket.inet_ntoa(entry[20:24])}/{socket.inet_ntoa(mask)}"
            held.append((label, IPv4Interface(text)))
        return held


def _configure(device: Any, wanted: TunRequest) -> None:
    """Give the device what it lacks of address, MTU and being up."""
    from ipaddress import IPv4Address

    name = device.name
    held = [address for holder, address in held_addresses() if holder == name]
    if wanted.mtu is not None and device.mtu != wanted.mtu:
        device.mtu = wanted.mtu
    if not held:
        device.addr = wanted.peer
        if wanted.prefix == 32:
            device.dstaddr = wanted.address
        else:
            device.netmask = socket.inet_ntoa(_mask(wanted.prefix))
    elif any(address.ip == IPv4Address(wanted.address) for address in held):
        raise SetupError(
            f"{wanted.address} is the kernel's own address on {name}: "
            f"choose another one of {held[0].network}"
        )
    elif not any(IPv4Address(wanted.address) in address.network for address in held):
        raise SetupError(
            f"{wanted.address} is not reached through {name}, which has {held[0]}: "
            f"choose an address of {held[0].network}"
        )
    with _control() as control:
        is_up = _flags(control, name) & IFF_UP
    if not is_up:
        device.up()


def _check_overlap(wanted: TunRequest, held_by: list[tuple[str, IPv4Interface]]) -> None:
    """Refuse addresses that another interface has, or that the kernel would send its way."""
    from ipaddress import IPv4Address

    address = IPv4Address(wanted.address)
    for name, held in held_by:
        if str(held.ip) in (wanted.address, wanted.peer):
            raise SetupError(f"{held.ip} is already an address of {name}: choose another network")
        if address in held.network and held.network.prefixlen >= wanted.prefix:
            raise SetupError(
                f"{address} is in the network {held.network} of {name}, where packets for it would "
                "go: choose another network"
            )


def _check_node(node: str) -> None:
    """Open the device node once, to tell its errors from those of making a device."""
    try:
        os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO):
            advice = (
                f"there is no TUN device at {node}: run 'modprobe tun' as root, "
                "or start the container with '--device /dev/net/tun'"
            )
        elif error.errno == errno.EACCES:
            advice = (
                f"no permission to open {node}: run as root, "
                f"or have root allow it with 'chmod 666 {node}'"
            )
        elif error.errno == errno.EPERM:
            advice = (
                f"the system forbids opening {node}: "
                "start the container with '--device /dev/net/tun'"
            )
        else:
            advice = f"cannot open {node}: {error.strerror}: give the path of a TUN device node"
        raise SetupError(advice) from error


def _attach_error(wanted: TunRequest, error: OSError, exists: bool, more_flags: int) -> SetupError:
    """Say what went wrong when the kernel refused the device."""
    if error.errno == errno.EBUSY:
        return SetupError(
            f"the device {wanted.name} is in use by another process: choose another name"
        )
    if error.errno == errno.EPERM and exists:
        return SetupError(
            f"no permission to attach to the device {wanted.name}: run as root, or have root make "
            f"it yours with 'ip tuntap add dev {wanted.name} mode tun user {os.geteuid()}'"
        )
    if error.errno == errno.EPERM:
        return SetupError(
            "no permission to make a TUN device here: use a private namespace "
            "(tunstack.open_namespace, 'tunstack run'), or run as root (CAP_NET_ADMIN)"
        )
    if exists:
        who = "several processes" if more_flags & IFF_MULTI_QUEUE else "one program"
        return SetupError(
            f"{wanted.name} exists and is no TUN device that {who} can attach to: "
            "choose another name"
        )
    return SetupError(
        f"cannot make a TUN device with {wanted.node}: {error}: is it a TUN device node?"
    )


def _flags(control: socket.SocketType, name: str) -> int:
    reply = fcntl.ioctl(control, _SIOCGIFFLAGS, _ifreq(name, b""))
    (flags,) = struct.unpack_from("H", reply, 16)
    return int(flags)


def _ifreq(name: str, value: bytes) -> bytes:
    return struct.pack("16s", name.encode()) + value.ljust(_IFREQ_SIZE - 16, b"\0")


def _mask(prefix: int) -> bytes:
    return (0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF).to_bytes(4, "big")
