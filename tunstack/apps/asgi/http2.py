"""hypercorn's HTTP/2, with the end of a response in its last DATA frame (RFC 9113 section 8.1).

hypercorn sends it in an empty frame of its own. A client that knows the length of a response may
have closed by then, and answers with a RST.
"""

from __future__ import annotations

from typing import final

from h2.exceptions import ProtocolError, StreamClosedError
from hypercorn.protocol.h2 import H2Protocol


@final
class Http2(H2Protocol):
    """The protocol of one connection."""

    async def _send_data(self, stream_id: int) -> None:
        """Send what flow control allows of a stream's data."""
        buffer = self.stream_buffers.get(stream_id)
        if buffer is None:
            self.priority.remove_stream(stream_id)
            return
        connection = self.connection
        try:
            room = connection.local_flow_control_window(stream_id)
            data = await buffer.pop(max(0, min(room, connection.max_outbound_frame_size)))
            ends = buffer.complete
            if data:
                connection.send_data(stream_id, data, end_stream=ends)
            elif ends:
                connection.end_stream(stream_id)
            else:
                self.priority.block(stream_id)
            await self._flush()
        except (StreamClosedError, KeyError, ProtocolError):
            await buffer.close()  # The stream has ended meanwhile.
            ends = True
        if ends:
            self.stream_buffers.pop(stream_id, None)
            self.priority.remove_stream(stream_id)
