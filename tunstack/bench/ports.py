"""The ports of the measured services."""

from __future__ import annotations

from typing import Final

HOLD: Final = 1
ECHO: Final = 7
SINK: Final = 9
SOURCE: Final = 19
HTTP: Final = 80
PROTOCOL: Final = 81
"""HTTP by callbacks."""
HTTPS: Final = 443
TLS_SINK: Final = 4439
TLS_SOURCE: Final = 4440
IPERF: Final = 5201

SERVED: Final = {SINK: 10, SOURCE: 20, HTTP: 82, IPERF: 5199}
"""The ports of the same services by `serve_tcp`, the host's and trio's."""
