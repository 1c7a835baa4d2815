"""Changes of a sender's MSS: by ICMP reports, by probes, by timeouts (:mod:`.path_mtu`).

Sizes without a word beside them are octets of data; where the MSS option's count is meant, which
has the TCP options in it, it says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.recovery.rack import DUPLICATE_THRESHOLD
from tunstack.tcp.sender.path_mtu import Trial

if TYPE_CHECKING:
    from tunstack.tcp.sender.send_variables import SendVariables


def too_large(sender: SendVariables, mss: int, seq: int) -> bool:
    """A router says that the segment at `seq` did not fit, but one of `mss` would have.

    `seq` is of something outstanding (RFC 5927 section 4.1), and `mss` counts as the option does.
    Returns whether the report was believed, so that the retransmission timer starts anew.
    """
    position = sender.position(seq)
    if not (sender.synchronized and sender.path.accepts_report(mss, position)):
        return False
    _resize(sender)
    return True


def path_changed(sender: SendVariables, mss: int) -> None:
    """Another connection has found that the path carries segments of `mss`, as the option counts.

    That may be more or less than before. Nothing is sent again for it.
    """
    sender.path.limit = mss
    _take_mss(sender)


def timed_out(sender: SendVariables, now: float, probing: int) -> None:
    """The retransmission timer fired: that was congestion, or segments that are too large.

    `probing` is the configuration's.
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
    """The path is narrower: send again at once what did not fit (RFC 1191 section 6.4)."""
    _take_mss(sender)
    sender.path.trial = None
    sender.early_timer = None
    sender.recovery.on_mss_reduced(sender.mss)


def _take_mss(sender: SendVariables) -> None:
    mss = sender.path.mss
    if sender.path.agreed and mss != sender.mss:
        sender.mss = mss
        sender.congestion.change_mss(mss)


# Sizes that have not been seen to arrive


def probe_size(sender: SendVariables, room: int) -> int:
    """How large a size probe may be now (RFC 4821 section 7.4); 0 for none.

    Enough must follow it that its loss shows by duplicate ACKs, and no timeout is needed. `room` is
    what one segment can carry beside the options at hand.
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
    """`size` octets were sent, more than have arrived in one segment: they are the trial now."""
    path, end = sender.path, sender.recovery.board.nxt
    most = size if probe else min(size, sender.mss)
    if probe or (path.trial is None and most > path.proven):
        path.trial = Trial(end - size, end, most, probe)


def check_trial(sender: SendVariables, una: int, now: float) -> None:
    """All before `una` has arrived: see whether the trial has, or is lost."""
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
