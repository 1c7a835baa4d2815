"""Parse the SACK blocks of an ACK into SACKs and a D-SACK (RFC 2018 section 5, RFC 2883)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.sequence import MASK, diff, ge, gt, le, lt

if TYPE_CHECKING:
    from tunstack.tcp.sender.send_variables import SendVariables

    Block = tuple[int, int]


def read_blocks(
    blocks: tuple[Block, ...], ack: int, sender: SendVariables
) -> tuple[tuple[Block, ...], Block | None]:
    """Return the SACK blocks and the D-SACK, as positions; invalid blocks are ignored.

    Args:
        blocks: Left and right edges, as sequence numbers, in the order of the option.
        ack: SEG.ACK, not applied to `sender` yet; it may be older than SND.UNA.
        sender: The sender of the data.
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
    """Whether the first block is a D-SACK: below SEG.ACK or within the second (RFC 2883 4)."""
    left, right = blocks[0]
    if le(right, ack):
        return True
    if len(blocks) == 1:
        return False
    begin, end = blocks[1]
    return le(end, nxt) and ge(left, begin) and le(right, end)
