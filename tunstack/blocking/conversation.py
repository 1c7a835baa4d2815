"""A conversation by hand, for programs that know no trio."""

from __future__ import annotations

from typing import final

import tunstack
from tunstack.blocking.handle import Handle, plain, waiting


@final
class Conversation(Handle[tunstack.Conversation]):
    """A conversation by hand; see `tunstack.Conversation`. What waits has a time limit, `within`.

    Its client is another program, another thread, or a socket that does not block: who expects a
    SYN here waits for it.
    """

    receive = waiting(tunstack.Conversation.receive)
    expect = waiting(tunstack.Conversation.expect)
    expect_silence = waiting(tunstack.Conversation.expect_silence)
    handshake = waiting(tunstack.Conversation.handshake)
    send = plain(tunstack.Conversation.send)
    send_icmp = plain(tunstack.Conversation.send_icmp)
    close = plain(tunstack.Conversation.close)
    ladder = plain(tunstack.Conversation.ladder)

    @property
    def local(self) -> tuple[str, int] | None:
        """Our address and port; None before there is a SYN."""
        return self._inner.local

    @property
    def remote(self) -> tuple[str, int] | None:
        """The other's."""
        return self._inner.remote
