"""Changes of a sender's MSS: by ICMP reports, by probes, by timeouts (:mod:`.path_mtu`).

Sizes are octets of data, unless noted otherwise: the MSS option's value includes
TCP options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.recovery.rack import DUPLICATE_THRESHOLD
from tunstack.tcp.sender.path_mtu import Trial

if TYPE_CHECKING:
    from tunstack.tcp.sender.send_variables import SendVariables


def too_large(sender: SendVariables, mss: int, seq: int) -> bool:
    """Process an ICMP report that the segment at `seq` exceeds the path MTU, for MSS `mss`.

    `seq` is outstanding (RFC 5927 section 4.1); `mss` includes TCP options.

    Returns whether the report was accepted, so that the retransmission timer restarts.
    """
    position = sender.position(seq)
    if not (sender.synchronized and sender.path.accepts_report(mss, position)):
        return False
    _resize(sender)
    return True


def path_changed(sender: SendVariables, mss: int) -> None:
    """Use the path MTU that another connection has found; `mss` includes TCP options.

    It may be more or less than before. Nothing is retransmitted.
    """
    sender.path.limit = mss
    _take_mss(sender)


def timed_out(sender: SendVariables, now: float, probing: int) -> None:
    """Process a retransmission timeout: congestion, or a black hole for large segments.

    `probing` is `Config.mtu_probing`.
    """
    path, recovery = sender.path, sender.recovery
    una = recovery.board.una
    if path.confirms_report(una):
        sender.rtt.end_back_off()
        _resize(sender)
        return
    if path.trial is not None:
        if path.trial.probe and path.trial.start == una:
            path.probe_was_lost(now)
        path.trial = None
    first = next(iter(recovery.board), None)
    size = 0 if first is None else min(first.end - first.start, sender.mss)
    narrower = path.timed_out(una, size, probing)
    if narrower:
        _take_mss(sender)
    recovery.on_timeout(now, sender.mss)
    if narrower:
        recovery.mark_larger_lost(sender.mss)


def _resize(sender: SendVariables) -> None:
    """Reduce the MSS, and retransmit larger segments at once (RFC 1191 section 6.4)."""
    _take_mss(sender)
    sender.path.trial = None
    sender.early_timer = None
    sender.recovery.on_mss_reduced(sender.mss)


def _take_mss(sender: SendVariables) -> None:
    mss = sender.path.mss
    if sender.path.agreed and mss != sender.mss:
        sender.mss = mss
        sender.congestion.change_mss(mss)


# Sizes that are not known to arrive


def probe_size(sender: SendVariables, room: int) -> int:
    """Return the size of an MTU probe to send now (RFC 4821 section 7.4); 0 for none.

    Enough data must follow it that its loss is detected by duplicate ACKs. `room` is
    what one segment can carry beside its options.
    """
    recovery = sender.recovery
    if recovery.recovering or recovery.board.sacked or room < sender.mss:
        return 0
    size = sender.path.next_probe(sender.last_sent)
    if size is None:
        return 0
    needed = size + (DUPLICATE_THRESHOLD + 1) * sender.mss
    window = min(sender.wnd - sender.outstanding, sender.congestion.cwnd)
    return size if min(sender.unsent, window) >= needed else 0


def try_size(sender: SendVariables, size: int, *, probe: bool) -> None:
    """Record a segment of `size` octets, larger than any that has arrived, as the trial."""
    path, end = sender.path, sender.recovery.board.nxt
    most = size if probe else min(size, sender.mss)
    if probe or (path.trial is None and most > path.proven):
        path.trial = Trial(end - size, end, most, probe)


def check_trial(sender: SendVariables, una: int, now: float) -> None:
    """Check at SND.UNA = `una` whether the trial has arrived or is lost."""
    path = sender.path
    trial = path.trial
    assert trial is not None
    if trial.lost:
        path.probe_was_lost(now)
    elif trial.probe and trial.sent_again:
        path.trial = None
    elif una >= trial.end:
        path.trial_arrived()
        _take_mss(sender)
