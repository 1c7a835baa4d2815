"""The closing of a connection (RFC 9293 section 3.6): each side ends its own half, on its own.

::

    active                passive               simultaneous

    FIN  ------------->                         FIN --.  .-- FIN
         <------------- ACK                     ACK <-----> ACK
         <------------- FIN                     2 MSL       2 MSL
    ACK  ------------->
    2 MSL

Between our FIN and theirs the connection is half closed, and data still flows towards us; between
theirs and ours, towards them. That may last as long as the applications like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunstack.tcp.connection.state import CLOSING, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, TIME_WAIT

if TYPE_CHECKING:
    from tunstack.tcp.connection.ending import Ending


async def teardown(connection: Ending) -> None:
    """End our half of `connection`, in ESTABLISHED or CLOSE-WAIT; then see it to its end."""
    connection.send_fin()  # Behind all data still queued. Now in FIN-WAIT-1, or in LAST-ACK.
    await connection.until_left(FIN_WAIT_1)  # Our FIN is acknowledged, or theirs crossed it.
    await connection.until_left(CLOSING)  # It crossed: now ours is acknowledged as well.
    await connection.until_left(FIN_WAIT_2)  # Half closed, until their FIN arrives.
    if connection.state is TIME_WAIT:
        connection.start_time_wait()  # Our ACK of their FIN may be lost: stay, to repeat it.
        await connection.until_left(TIME_WAIT)
    else:
        await connection.until_left(LAST_ACK)  # They were first, and owe us the last ACK.
