"""What all connections to an ASGI application share."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, final

from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import wrap_app

if TYPE_CHECKING:
    from tunstack.apps.asgi.lifespan import Application

_IDLE_SECONDS: Final = 30.0


@final
class Shared:
    """An application, and how it is served.

    Attributes:
        app: The application, as hypercorn's protocols call it.
        state: What its start-up has left for its requests.
        config: hypercorn's.
        context: hypercorn's.
        idle_seconds: Seconds after which a connection without a request is closed.
        refused: How many connections were ended for what the peer did: ``flood``, or ``fault`` for
            what the protocol does not handle.
    """

    def __init__(self, app: Application, state: dict[str, Any]) -> None:
        self.app = wrap_app(app, 0, "asgi")
        self.state = state
        self.context = WorkerContext(None)
        self.config = Config()
        self.config.accesslog = None
        self.config.errorlog = logging.getLogger("tunstack")
        self.config.keep_alive_max_requests = sys.maxsize
        self.config.include_server_header = False
        self.idle_seconds = _IDLE_SECONDS
        self.refused: Counter[str] = Counter()
