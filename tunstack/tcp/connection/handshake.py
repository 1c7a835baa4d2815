"""The opening of a connection (RFC 9293 section 3.5): SYN, SYN-ACK, ACK, from either side or both.

::

    active                passive               simultaneous

    SYN  ------------->                         SYN --.  .-- SYN
         <-------- SYN,ACK                      SYN,ACK <--> SYN,ACK
    ACK  ------------->                         ACK  --'  '-- ACK
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.connection.state import ESTABLISHED, SYN_RECEIVED, SYN_SENT

if TYPE_CHECKING:
    from tunstack.tcp.connection.connection import Connection


async def handshake(connection: Connection) -> None:
    """Open `connection`, which has just entered SYN-SENT or SYN-RECEIVED.

    The retransmission timer repeats the SYN until it is answered. If the handshake fails,
    ``connection.error`` says why.
    """
    if connection.state is SYN_SENT:
        connection.send_syn()
        # To ESTABLISHED, if their SYN acknowledges ours. If the two crossed, to SYN-RECEIVED.
        await connection.until_left(SYN_SENT)
    if connection.state is SYN_RECEIVED:
        connection.send_syn()  # With an ACK of theirs; ours is not acknowledged yet.
        await connection.until_left(SYN_RECEIVED)
    if connection.state is ESTABLISHED:
        connection.opened()
    else:
        connection.failed_to_open()
