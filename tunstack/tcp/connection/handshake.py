"""The three-way handshake, also of a simultaneous open (RFC 9293 section 3.5).

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
    """Perform the handshake of `connection`, which is in SYN-SENT or SYN-RECEIVED.

    The retransmission timer repeats the SYN. If the handshake fails, the cause is
    ``connection.error``.
    """
    if connection.state is SYN_SENT:
        connection.send_syn()
        # To ESTABLISHED by a SYN,ACK; to SYN-RECEIVED by a SYN (simultaneous open).
        await connection.until_left(SYN_SENT)
    if connection.state is SYN_RECEIVED:
        connection.send_syn()  # A SYN,ACK.
        await connection.until_left(SYN_RECEIVED)
    if connection.state is ESTABLISHED:
        connection.opened()
    else:
        connection.failed_to_open()
