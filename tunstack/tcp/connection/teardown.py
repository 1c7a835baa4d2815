"""Closing a connection, one half by each side (RFC 9293 section 3.6).

::

    active                passive               simultaneous

    FIN  ------------->                         FIN --.  .-- FIN
         <------------- ACK                     ACK <-----> ACK
         <------------- FIN                     2 MSL       2 MSL
    ACK  ------------->
    2 MSL

After our FIN the connection is half closed: the peer may still send. After the peer's FIN, we
may. A half-closed connection has no time limit while the application has it open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.connection.state import CLOSING, FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT

if TYPE_CHECKING:
    from tunstack.tcp.connection.ending import Ending


async def teardown(connection: Ending) -> None:
    """Send FIN in ESTABLISHED or CLOSE-WAIT, and wait for its ACK and the peer's FIN.

    The ACK of our FIN ends the connection in LAST-ACK, the 2 MSL timer in TIME-WAIT.
    """
    connection.send_fin()  # Enters FIN-WAIT-1, or LAST-ACK.
    # Left by the ACK of our FIN and by the peer's FIN, in either order.
    await connection.until_left(FIN_WAIT_1, FIN_WAIT_2, CLOSING)
    if connection.state is TIME_WAIT:
        connection.start_time_wait()  # To repeat the ACK of their FIN.
