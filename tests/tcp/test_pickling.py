"""What goes to other processes, or is kept by those who observe, is pickled and copied."""

from __future__ import annotations

import copy
import pickle
from ipaddress import ip_address
from typing import Any, Final

import pytest

from tunstack.ip.datagram import Datagram
from tunstack.ip.demux import FourTuple
from tunstack.ip.icmp import IcmpMessage
from tunstack.stack.limits import Limits
from tunstack.stack.observation import Observation, Windows
from tunstack.stack.profile import Profile
from tunstack.tcp.config import Config
from tunstack.tcp.congestion import Reno
from tunstack.tcp.info import TcpInfo
from tunstack.tcp.segment import ACK, Segment

END: Final = (ip_address("198.51.100.2"), 80)
NUMBERS: Final[dict[str, Any]] = dict.fromkeys(
    (
        *("snd_cwnd", "snd_ssthresh", "snd_wnd", "rcv_wnd", "snd_mss", "pmtu", "rcv_mss"),
        *("unacked", "notsent", "unread", "out_of_order", "bytes_acked", "bytes_received"),
        *("retransmits", "rcv_tos", "snd_wscale", "rcv_wscale"),
    ),
    7,
)
INFO: Final = TcpInfo(
    state="ESTABLISHED",
    local=END,
    remote=END,
    rtt=0.5,
    rttvar=0.25,
    min_rtt=None,
    rto=1.0,
    congestion="cubic",
    soft_error=None,
    timestamps=True,
    sack=False,
    ecn=True,
    **NUMBERS,
)

VALUES = (
    Config(mss=1000, user_timeout=3.0, congestion=Reno),
    Limits(memory=1 << 20, syncookies="always"),
    Profile(ttl=3, congestion="reno"),
    Windows(14480, None, 1448),
    Observation(1.0, "in", b"packet", after="LISTEN", windows=Windows(14480, 2896, 1448)),
    INFO,
    Segment(1, 2, ACK, payload=b"data", sack=((3, 4),)),
    IcmpMessage(8, 0, payload=b"ping"),
    Datagram(bytes(4), bytes(4), 6, b"payload"),
    FourTuple(bytes(4), 80, bytes(4), 40000),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_pickled_and_copied(value: object) -> None:
    again = pickle.loads(pickle.dumps(value))
    assert type(again) is type(value)
    assert again == copy.copy(value) == copy.deepcopy(value) == value
    assert repr(again) == repr(value)


def test_what_a_configuration_derives_from_its_values_comes_along() -> None:
    config = pickle.loads(pickle.dumps(Config(receive_buffer=1 << 20, user_timeout=3.0)))
    assert config.receive_sizes == (1 << 20, 1 << 20)
    assert config.data_r2 == 3.0
