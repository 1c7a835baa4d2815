"""What the SACK blocks beside an acknowledgement say (RFC 2018, RFC 2883), for the scoreboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.sequence import MASK, diff, ge, gt, le, lt

if TYPE_CHECKING:
    from tunstack.tcp.sender.send_variables import SendVariables

    Block = tuple[int, int]


def read_blocks(
    blocks: tuple[Block, ...], ack: int, sender: SendVariables
) -> tuple[tuple[Block, ...], Block | None]:
    """The positions of SACK blocks, and of a D-SACK; what is nonsense is left out.

    Args:
        blocks: Left and right edges, as sequence numbers, in the order in which they came.
        ack: SEG.ACK, that `sender` has not taken yet; or an old one, that others have overtaken.
        sender: Whose data they are about.
    """
    dsack = None
    sacks = []
    for number, (left, right) in enumerate(blocks):
        if not (lt(left, right) and le(right, sender.nxt)):
            continue
        if number == 0 and _is_dsack(blocks, ack, sender.nxt):
            start = sender.recovery.board.una + diff(left, sender.una)
            dsack = (start, start + ((right - left) & MASK))
        elif gt(left, ack) and gt(right, sender.una):
            start = left if gt(left, sender.una) else sender.una
            sacks.append((sender.position(start), sender.position(right)))
    return tuple(sacks), dsack


def _is_dsack(blocks: tuple[Block, ...], ack: int, nxt: int) -> bool:
    """RFC 2883 section 4: a first block that is acknowledged already, or part of the second."""
    left, right = blocks[0]
    if le(right, ack):
        return True
    if len(blocks) == 1:
        return False
    begin, end = blocks[1]
    return le(end, nxt) and ge(left, begin) and le(right, end)
