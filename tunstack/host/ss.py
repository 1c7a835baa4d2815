"""The sockets of a host in the words of Linux's ``ss -tuani``."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from tunstack.host.host import loop_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunstack.host.host import Host
    from tunstack.tcp.info import TcpInfo

_STATES: Final = {
    "ESTABLISHED": "ESTAB",
    "SYN-RECEIVED": "SYN-RECV",
    "CLOSED": "UNCONN",
}
"""What ss calls a state otherwise."""

_HEADING: Final = ("Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port")
_Row = tuple[str, str, str, str, str, str]


def state_name(state: str) -> str:
    """What ss calls a state: ``"ESTAB"`` for ``"ESTABLISHED"``."""
    return _STATES.get(state, state)


def sockets_of(host: Host) -> str:
    """Return the listeners, the UDP sockets and the connections of a host, a line each.

    Below a connection are its numbers, as ``ss -i`` has them: times in ms, cwnd in segments.
    """
    rows: list[tuple[_Row, str]] = [(_HEADING, "")]
    rows += [(each, "") for each in (*_datagrams(host), *_listeners(host))]
    rows += [(_connection(each), numbers(each)) for each in host.connections()]
    widths = [max(len(row[column]) for row, _ in rows) for column in range(len(_HEADING))]
    lines = []
    for row, below in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(" ".join(cells).rstrip())
        if below:
            lines.append(f"\t {below}")
    return "\n".join(lines) + "\n"


def _datagrams(host: Host) -> Iterator[_Row]:
    for sock in loop_of(host).stack.datagrams.ports.sockets:
        state = "UNCONN" if sock.remote is None else "ESTAB"
        local, remote = end_name(sock.local, sock.port), end_name(sock.remote, sock.remote_port)
        yield ("udp", state, str(sock.queue.used), "0", local, remote)


def _listeners(host: Host) -> Iterator[_Row]:
    for address, port, listener in loop_of(host).stack.demux.listeners():
        queued, most = str(len(listener)), str(listener.backlog)
        yield ("tcp", "LISTEN", queued, most, end_name(address, port), end_name(None, 0))


def _connection(info: TcpInfo) -> _Row:
    state = state_name(info.state)
    unread, unsent = str(info.unread), str(info.unacked + info.notsent)
    ends = [end_name(address.packed, port) for address, port in (info.local, info.remote)]
    return ("tcp", state, unread, unsent, ends[0], ends[1])


def numbers(info: TcpInfo) -> str:
    """The line that ``ss -i`` has below a connection; empty in TIME-WAIT.

    Times are in ms, cwnd in segments of the MSS, windows and octets in octets.
    """
    if not info.congestion:
        return ""
    words = [
        *(["ts"] if info.timestamps else []),
        *(["sack"] if info.sack else []),
        *(["ecn"] if info.ecn else []),
        info.congestion,
        f"wscale:{info.snd_wscale},{info.rcv_wscale}",
        f"rto:{_ms(info.rto)}",
    ]
    if info.rtt is not None:
        words.append(f"rtt:{_ms(info.rtt)}/{_ms(info.rttvar)}")
    words += [
        f"mss:{info.snd_mss}",
        f"pmtu:{info.pmtu}",
        f"rcvmss:{info.rcv_mss}",
        f"cwnd:{info.snd_cwnd // max(1, info.snd_mss)}",
        f"snd_wnd:{info.snd_wnd}",
        f"rcv_wnd:{info.rcv_wnd}",
        f"bytes_acked:{info.bytes_acked}",
        f"bytes_received:{info.bytes_received}",
    ]
    for name in ("unacked", "notsent", "retransmits"):
        if value := getattr(info, name):
            words.append(f"{name}:{value}")
    if info.out_of_order:
        words.append(f"rcv_ooopack:{info.out_of_order}")
    if info.soft_error is not None:
        words.append(f"soft_error:{info.soft_error.strerror}")
    return " ".join(words)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".")


def end_name(address: bytes | None, port: int) -> str:
    """An address and port as ss writes them; ``*`` for port 0, and for None, every address."""
    if address is None or not any(address):
        shown = {None: "*", 4: "0.0.0.0", 16: "[::]"}[None if address is None else len(address)]
    else:
        shown = str(ip_address(address))
        shown = f"[{shown}]" if ":" in shown else shown
    return f"{shown}:{port or '*'}"
