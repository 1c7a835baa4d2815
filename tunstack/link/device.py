"""Create, attach and configure a TUN device in the network namespace of the calling thread.

This runs in the stack's own process for :func:`tunstack.link.tun.open_tun`, and in the holder of a
private namespace (:mod:`tunstack.link.holder`), which must start fast. So it uses pytun, `ioctl`
for what pytun lacks (netdevice(7)), and one netlink message; importing pyroute2 would take longer
than everything else together.
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

# An RTM_NEWLINK message (rtnetlink(7)): struct nlmsghdr, struct ifinfomsg, one u32 attribute.
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
    """The parameters of a TUN device, as plain values that are sent to the holder.

    Attributes:
        name: The device's name; empty to let the kernel choose.
        address: Our address, which the kernel reaches through the device.
        peer: The kernel's own address on the device.
        prefix: The prefix length of both, in bits.
        mtu: In octets; None for the device's own (1500 when new).
        node: Path of the device node.
        offload: Whether to enable TSO and checksum offload, where the kernel supports it.
    """

    name: str
    address: str
    peer: str
    prefix: int
    mtu: int | None
    node: str
    offload: bool = False


QUEUE_LENGTH: Final = 16_384
"""The device's transmit queue length, in packets from the kernel to us.

The kernel's default, 500, is less than a window: with several senders it dropped 8,600 of 63,900
packets while our process waited to run. The largest window of autotuning, 6 MiB, is 4,345 segments
at an MTU of 1500, and 11,738 at an MTU of 576.
"""


def make_tun(request: TunRequest, more_flags: int = 0) -> tuple[int, str, int, bool]:
    """Create the device, or attach to a persistent one of that name, and bring it up.

    A device that has an IPv4 address keeps it, and one that is up is left as it is: so a user
    without privileges can attach to a device that was configured for them.

    Args:
        request: The device's parameters.
        more_flags: TUNSETIFF flags beside IFF_TUN, IFF_NO_PI and IFF_VNET_HDR.

    Returns:
        A descriptor (which the caller closes), the device's name, its MTU in octets, and whether
        offload is enabled, so that its packets have a virtio header.

    Raises:
        SetupError: with one line that says what to do.
    """
    import pytun  # here, so that the holder replies before it loads this

    _check_node(request.node)
    exists = request.name in (name for _, name in socket.if_nameindex())
    held = held_addresses()
    if request.name not in (name for name, _ in held):
        _check_overlap(request, held)

    def attach(flags: int) -> Any:
        return pytun.TunTapDevice(name=request.name, flags=flags | more_flags, dev=request.node)

    try:
        device, offload = attach_device(attach, wants_offload=request.offload)
    except OSError as error:
        raise _attach_error(request, error, exists, more_flags) from error
    try:
        _configure(device, request)
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
    """Attach to a device, with offload if requested and supported.

    Args:
        attach: Opens the device with the given flags, as pytun does.
        wants_offload: Whether to try offload first.

    Returns:
        The device, and whether offload is enabled.

    Raises:
        OSError: the kernel refuses the device even without offload.
    """
    plain = IFF_TUN | IFF_NO_PI
    if wants_offload:
        with suppress(OSError):  # Old kernels lack the flag; other errors are raised below.
            device = attach(plain | IFF_VNET_HDR)
            if enable_offload(device.fileno()):
                return device, True
            device.close()
    device = attach(plain)
    with suppress(OSError):  # A persistent device keeps the offloads of its previous user.
        fcntl.ioctl(device.fileno(), _TUNSETOFFLOAD, 0)
    return device, False


def enable_offload(fd: int) -> bool:
    """Enable TSO and checksum offload (TUNSETOFFLOAD); returns whether TCP's is enabled.

    From then on the kernel passes TCP segments of up to 64 KiB with partial checksums, and accepts
    the same, each behind a struct virtio_net_hdr.
    """
    try:
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER_SIZE))
    except OSError:
        return False
    for features in (_TCP_OFFLOAD | _UDP_OFFLOAD, _TCP_OFFLOAD):
        try:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, features)
        except OSError:
            continue  # USO needs Linux 6.2.
        return True
    return False


def _control() -> closing[socket.SocketType]:
    """A kernel socket for interface ioctls.

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
    """Set the device's transmit queue length, as `ip link set NAME txqueuelen N` does.

    By netlink, because the ioctl needs CAP_NET_ADMIN in the initial user namespace.

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
    """Whether the interface `name` has a carrier: a TUN device that a process has open.

    By ETHTOOL_GLINK, as IFF_RUNNING is up to a second late.
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
    """List the IPv4 addresses of this namespace, each with its interface's name."""
    from ipaddress import IPv4Interface

    with _control() as control:
        buffer = array.array("B", bytes(_IFREQ_SIZE * 1024))
        request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
        (used,) = struct.unpack_from("i", fcntl.ioctl(control, _SIOCGIFCONF, request))
        held = []
        for start in range(0, used, _IFREQ_SIZE):
            entry = bytes(buffer[start : start + _IFREQ_SIZE])
            # An interface may have several addresses: SIOCGIFNETMASK looks for the given one.
            mask = fcntl.ioctl(control, _SIOCGIFNETMASK, entry)[20:24]
            label = entry[:16].rstrip(b"\0").decode().partition(":")[0]
            text = f"{socket.inet_ntoa(entry[20:24])}/{socket.inet_ntoa(mask)}"
            held.append((label, IPv4Interface(text)))
        return held


def _configure(device: Any, request: TunRequest) -> None:
    """Set the device's MTU, its address if it has none, and IFF_UP."""
    from ipaddress import IPv4Address

    name = device.name
    held = [address for holder, address in held_addresses() if holder == name]
    if request.mtu is not None and device.mtu != request.mtu:
        device.mtu = request.mtu
    if not held:
        device.addr = request.peer
        if request.prefix == 32:
            device.dstaddr = request.address
        else:
            device.netmask = socket.inet_ntoa(_mask(request.prefix))
    elif any(address.ip == IPv4Address(request.address) for address in held):
        raise SetupError(
            f"{request.address} is the kernel's own address on {name}: "
            f"choose another one of {held[0].network}"
        )
    elif not any(IPv4Address(request.address) in address.network for address in held):
        raise SetupError(
            f"{request.address} is not reached through {name}, which has {held[0]}: "
            f"choose an address of {held[0].network}"
        )
    with _control() as control:
        is_up = _flags(control, name) & IFF_UP
    if not is_up:
        device.up()


def _check_overlap(request: TunRequest, interfaces: list[tuple[str, IPv4Interface]]) -> None:
    """Refuse addresses that another interface has, or that are routed to another interface."""
    from ipaddress import IPv4Address

    address = IPv4Address(request.address)
    for name, held in interfaces:
        if str(held.ip) in (request.address, request.peer):
            raise SetupError(f"{held.ip} is already an address of {name}: choose another network")
        if address in held.network and held.network.prefixlen >= request.prefix:
            raise SetupError(
                f"{address} is in the network {held.network} of {name}, where packets for it would "
                "go: choose another network"
            )


def _check_node(node: str) -> None:
    """Open the device node once, to tell its errors from those of TUNSETIFF."""
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


def _attach_error(request: TunRequest, error: OSError, exists: bool, more_flags: int) -> SetupError:
    """Explain an error of TUNSETIFF."""
    if error.errno == errno.EBUSY:
        return SetupError(
            f"the device {request.name} is in use by another process: choose another name"
        )
    if error.errno == errno.EPERM and exists:
        return SetupError(
            f"no permission to attach to the device {request.name}: run as root, or have root make "
            f"it yours with 'ip tuntap add dev {request.name} mode tun user {os.geteuid()}'"
        )
    if error.errno == errno.EPERM:
        return SetupError(
            "no permission to make a TUN device here: use a private namespace "
            "(tunstack.open_namespace, 'tunstack run'), or run as root (CAP_NET_ADMIN)"
        )
    if exists:
        who = "several processes" if more_flags & IFF_MULTI_QUEUE else "one program"
        return SetupError(
            f"{request.name} exists and is no TUN device that {who} can attach to: "
            "choose another name"
        )
    return SetupError(
        f"cannot make a TUN device with {request.node}: {error}: is it a TUN device node?"
    )


def _flags(control: socket.SocketType, name: str) -> int:
    reply = fcntl.ioctl(control, _SIOCGIFFLAGS, _ifreq(name, b""))
    (flags,) = struct.unpack_from("H", reply, 16)
    return int(flags)


def _ifreq(name: str, value: bytes) -> bytes:
    return struct.pack("16s", name.encode()) + value.ljust(_IFREQ_SIZE - 16, b"\0")


def _mask(prefix: int) -> bytes:
    return (0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF).to_bytes(4, "big")
