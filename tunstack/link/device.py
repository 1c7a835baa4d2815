"""Create, attach and configure a TUN device in the network namespace of the calling thread.

This runs in the stack's own process for :func:`tunstack.link.tun.open_tun`, and in the holder of a
private namespace (:mod:`tunstack.link.holder`), which must start fast. So it uses pytun for the
device and netlink for its addresses and flags (:mod:`tunstack.link.netlink`).
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tunstack.link.base import VNET_HEADER_SIZE
from tunstack.link.errors import SEE_DOCTOR, SetupError
from tunstack.link.netlink import IFF_UP, HeldAddress, Netlink, Route

if TYPE_CHECKING:
    from collections.abc import Callable

IFF_TUN: Final = 0x1
IFF_MULTI_QUEUE: Final = 0x100
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
_SIOCGIFFLAGS: Final = 0x8913
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GLINK: Final = 0x0A
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETHDRSZ: Final = 0x400454D8
_TCP_OFFLOAD: Final = 0x1 | 0x2 | 0x4 | 0x8
"""Checksums, TSO for IPv4 and IPv6, and TSO of segments with CWR (linux/if_tun.h)."""
_UDP_OFFLOAD: Final = 0x20 | 0x40

# struct ifreq: a name of 16 bytes, and a union as large as its member `struct ifmap`.
_IFREQ_SIZE: Final = 16 + (24 if struct.calcsize("P") == 8 else 16)


class AddressRequest(NamedTuple):
    """An address of the kernel's on the device.

    Attributes:
        address: The kernel's own.
        prefix: Bits of the network's prefix.
        ours: Our address in that network; the network's own where all others are ours.
    """

    address: str
    prefix: int
    ours: str

    @property
    def whole(self) -> bool:
        """Whether every other address of the network is ours."""
        ours = packed(self.ours)
        after = 8 * len(ours) - self.prefix
        return after > 1 and int.from_bytes(ours, "big") & (1 << after) - 1 == 0


class TunRequest(NamedTuple):
    """The parameters of a TUN device, as plain values that are sent to the holder.

    Attributes:
        name: The device's name; empty to let the kernel choose.
        held: The kernel's addresses on the device.
        routes: Networks that the kernel reaches through the device besides: address and prefix
            length, in bits.
        mtu: In octets; None for the device's own (1500 when new).
        node: Path of the device node.
        offload: Whether to enable segmentation and checksum offload, where the kernel supports it.
    """

    name: str
    held: tuple[AddressRequest, ...]
    routes: tuple[tuple[str, int], ...]
    mtu: int | None
    node: str
    offload: bool = False

    @classmethod
    def from_plain(cls, fields: tuple[Any, ...]) -> TunRequest:
        """Return the request of which `fields` is what `marshal` made."""
        name, held, *rest = fields
        return cls(name, tuple(AddressRequest(*each) for each in held), *rest)

    @property
    def kernel_addresses(self) -> list[str]:
        """The kernel's addresses on the device."""
        return [each.address for each in self.held]

    @property
    def plain(self) -> tuple[Any, ...]:
        """The fields as `marshal` takes them."""
        return (self.name, tuple(tuple(each) for each in self.held), *self[2:])


QUEUE_LENGTH: Final = 16_384
"""The device's transmit queue length, in packets from the kernel to us.

The kernel's default, 500, is less than a window: with several senders it dropped 8,600 of 63,900
packets while our process waited to run. The largest window of autotuning, 6 MiB, is 4,345 segments
at an MTU of 1500, and 11,738 at an MTU of 576.
"""


_IPV6_READY_SECONDS: Final = 1.0
"""The most that is waited for the local routes of a device."""


def make_tun(
    request: TunRequest, more_flags: int = 0, shared: frozenset[int] = frozenset()
) -> tuple[int, str, int, bool, tuple[str, ...]]:
    """Create the device, or attach to a persistent one of that name, and bring it up.

    A device that has an address of a family keeps it, and one that is up is left as it is: so a
    user without privileges can attach to a device that was configured for them.

    Args:
        request: The device's parameters.
        more_flags: TUNSETIFF flags beside IFF_TUN, IFF_NO_PI and IFF_VNET_HDR.
        shared: Indices of the devices on which the kernel may have the same address.

    Returns:
        A descriptor (which the caller closes), the device's name, its MTU in octets, whether
        offload is enabled, so that its packets have a virtio header, and the kernel's addresses on
        it.

    Raises:
        SetupError: with one line that says what to do.
    """
    import pytun  # here, so that the holder replies before it loads this

    _check_node(request.node)
    exists = request.name in (name for _, name in socket.if_nameindex())
    if not exists:
        check_overlap(request, shared)

    def attach(flags: int) -> Any:
        return pytun.TunTapDevice(name=request.name, flags=flags | more_flags, dev=request.node)

    try:
        device, offload = attach_device(attach, wants_offload=request.offload)
    except OSError as error:
        raise _attach_error(request, error, exists, more_flags) from error
    try:
        kernel = _configure(device, request, is_new=not exists)
        return os.dup(device.fileno()), device.name, device.mtu, offload, kernel
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


def enable_udp_offload(fd: int) -> bool:
    """Enable USO beside the offload of TCP, where the kernel knows it; returns whether it does."""
    try:
        fcntl.ioctl(fd, _TUNSETOFFLOAD, _TCP_OFFLOAD | _UDP_OFFLOAD)
    except OSError:
        return False
    return True


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
    with Netlink() as netlink:
        netlink.set_up(socket.if_nametoindex(name))


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


def _configure(device: Any, request: TunRequest, *, is_new: bool) -> tuple[str, ...]:
    """Set the device's MTU, its addresses of families of which it has none, and IFF_UP.

    Returns:
        The kernel's addresses on it, but for link-local ones.
    """
    if request.mtu is not None and device.mtu != request.mtu:
        device.mtu = request.mtu
    index = socket.if_nametoindex(device.name)
    with Netlink() as netlink, _control() as control:
        if is_new:
            netlink.set_queue_length(index, QUEUE_LENGTH)
            with suppress(OSError):  # A kernel without IPv6.
                netlink.generate_no_address(index)
        has = [each for each in netlink.addresses() if each.interface == index and _is_global(each)]
        peers: list[tuple[str, int]] = []
        kernel = [_text(each.local) for each in has]
        for wanted in request.held:
            own = [each for each in has if each.family == _family(wanted.address)]
            if own:
                _check_held(device.name, wanted, own)
            else:
                _add_address(netlink, index, wanted)
                kernel.append(wanted.address)
                if wanted.prefix == 128:
                    peers.append((wanted.ours, 128))
        if not _flags(control, device.name) & IFF_UP:
            netlink.set_up(index)
        # Linux 6.18 adds the route of an IPv6 peer address to a device that is up only.
        for network, prefix in peers:
            with suppress(FileExistsError):
                netlink.add_route(index, packed(network), prefix)
        for network, prefix in request.routes:
            try:
                netlink.add_route(index, packed(network), prefix)
            except FileExistsError:
                if is_new:
                    raise
    # The carrier of a device that was up before comes on now. The kernel takes note of it in its
    # own time, and drops what it sends until then; to ask for the link's state makes it do so.
    is_in_use(device.name)
    _wait_for_ipv6(index)
    return tuple(kernel)


def _wait_for_ipv6(index: int) -> None:
    """Wait until the kernel receives packets to its IPv6 addresses on the device.

    It adds the local route of an address in a work queue, up to 4 ms after the device has its
    carrier (Linux 6.18), and drops what comes for that address before (Ip6InAddrErrors).
    """
    end = time.monotonic() + _IPV6_READY_SECONDS
    with Netlink() as netlink:
        for held in netlink.addresses():
            if held.interface != index or held.family != socket.AF_INET6:
                continue
            while not netlink.is_local(held.local) and time.monotonic() < end:
                time.sleep(0.0002)


def _add_address(netlink: Netlink, index: int, wanted: AddressRequest) -> None:
    local, ours = packed(wanted.address), packed(wanted.ours)
    peer = ours if wanted.prefix == 8 * len(ours) else None
    try:
        netlink.add_address(index, local, wanted.prefix, peer)
    except OSError as error:
        # EOPNOTSUPP without IPv6 in the kernel; EACCES with net.ipv6.conf.*.disable_ipv6.
        is_off = error.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EACCES)
        if is_off and _family(wanted.address) == socket.AF_INET6:
            raise SetupError(
                "the kernel has IPv6 off here: set 'sysctl net.ipv6.conf.all.disable_ipv6=0', "
                "or use IPv4 addresses only"
            ) from error
        raise


def _is_global(held: HeldAddress) -> bool:
    """Whether it is not link-local: the kernel chooses such an IPv6 address by itself."""
    return held.family != socket.AF_INET6 or held.local[:2] != b"\xfe\x80"


def _check_held(name: str, wanted: AddressRequest, held: list[HeldAddress]) -> None:
    """Refuse a persistent device whose addresses do not fit what is wanted."""
    ours, first = packed(wanted.ours), held[0]
    network = _network(first)
    if any(each.local == ours for each in held):
        raise SetupError(
            f"{wanted.ours} is the kernel's own address on {name}: choose another one of {network}"
        )
    if not any(shares(each.peer, ours, each.prefix) for each in held):
        raise SetupError(
            f"{wanted.ours} is not reached through {name}, which has "
            f"{_text(first.local)}/{first.prefix}: choose an address of {network}"
        )


def check_overlap(request: TunRequest, shared: frozenset[int] = frozenset()) -> None:
    """Refuse addresses that another interface has, or that are routed to another interface.

    Args:
        request: The device's parameters.
        shared: Indices of the interfaces that may have the kernel's address as well.

    Raises:
        SetupError: there is one.
    """
    with Netlink() as netlink:
        held, routes = netlink.addresses(), netlink.routes()
    for wanted in request.held:
        family = _family(wanted.address)
        theirs, ours = packed(wanted.address), packed(wanted.ours)
        for each in (each for each in held if each.family == family):
            if each.local == ours or (each.local == theirs and each.interface not in shared):
                name = socket.if_indextoname(each.interface)
                raise SetupError(
                    f"{_text(each.local)} is already an address of {name}: choose another network"
                )
            bits = wanted.prefix if wanted.whole else each.prefix
            if each.prefix >= wanted.prefix and shares(each.peer, ours, bits):
                name = socket.if_indextoname(each.interface)
                raise SetupError(
                    f"{wanted.ours} is in the network {_network(each)} of {name}, "
                    "where packets for it would go: choose another network"
                )
        _check_routes(wanted.ours, wanted.prefix, routes, whole=wanted.whole)
    for network, prefix in request.routes:
        _check_routes(network, prefix, routes, whole=True)


def _check_routes(address: str, prefix: int, routes: list[Route], *, whole: bool) -> None:
    """Refuse an address, or a whole network, that is routed to another interface."""
    ours = packed(address)
    for each in routes:
        if len(each.network) != len(ours) or each.prefix < prefix:
            continue
        if shares(each.network, ours, prefix if whole else each.prefix):
            raise SetupError(
                f"{_text(each.network)}/{each.prefix} is routed to "
                f"{socket.if_indextoname(each.interface)} already: choose another network"
            )


def _network(held: HeldAddress) -> str:
    from ipaddress import ip_interface  # here, as it takes long to import

    return str(ip_interface(f"{_text(held.peer)}/{held.prefix}").network)


def shares(one: bytes, other: bytes, prefix: int) -> bool:
    """Whether two packed addresses have the same `prefix` bits."""
    shift = 8 * len(one) - prefix
    return int.from_bytes(one, "big") >> shift == int.from_bytes(other, "big") >> shift


def _family(address: str) -> int:
    return int(socket.AF_INET6 if ":" in address else socket.AF_INET)


def packed(address: str) -> bytes:
    """Return the octets of an address of either family."""
    return socket.inet_pton(_family(address), address)


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


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
        raise SetupError(advice + SEE_DOCTOR) from error


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
            "(tunstack.open_namespace, 'tunstack run'), or run as root (CAP_NET_ADMIN)" + SEE_DOCTOR
        )
    if exists:
        who = "several processes" if more_flags & IFF_MULTI_QUEUE else "one program"
        return SetupError(
            f"{request.name} exists and is no TUN device that {who} can attach to: "
            "choose another name"
        )
    return SetupError(
        f"cannot make a TUN device with {request.node}: {error}: is it a TUN device node?"
        + SEE_DOCTOR
    )


def _flags(control: socket.SocketType, name: str) -> int:
    reply = fcntl.ioctl(control, _SIOCGIFFLAGS, _ifreq(name, b""))
    (flags,) = struct.unpack_from("H", reply, 16)
    return int(flags)


def _ifreq(name: str, value: bytes) -> bytes:
    return struct.pack("16s", name.encode()) + value.ljust(_IFREQ_SIZE - 16, b"\0")
