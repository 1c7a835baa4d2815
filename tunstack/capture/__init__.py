"""Captures as tables: IP packets and TCP connections as typed rows, of files and of live traces.

capture     `read_capture` (pcap, pcapng), and `Capture`
rows        `PacketRow`, `ConnectionRow`, and sequences of them with ``to_dicts()``
collecting  packets into rows and connections
numbering   relative sequence numbers, scaled windows
recorder    a tap of the simulator that records one connection
"""

from __future__ import annotations

from tunstack.capture.capture import Capture, read_capture
from tunstack.capture.recorder import Recorder
from tunstack.capture.rows import ConnectionRow, PacketRow, Rows

__all__ = ["Capture", "ConnectionRow", "PacketRow", "Recorder", "Rows", "read_capture"]
