"""A client made of requests: it retries what may be retried, and fails in time."""

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tunstack.pytest_plugin import Peers


def session() -> requests.Session:
    """The program to test: three attempts, each of half a second at most until data come."""
    made = requests.Session()
    retry = Retry(3, backoff_factor=0.01, allowed_methods=["GET"])
    made.mount("http://", HTTPAdapter(max_retries=retry))
    return made


def get(url: str) -> bytes:
    with session() as client:
        return client.get(url, timeout=0.5).content


def test_two_failures_are_retried(tunstack_peer: Peers) -> None:
    assert b"It works" in get(tunstack_peer("http", behaviour="fail-first=2").url)


def test_refusing_for_ever_is_an_error(tunstack_peer: Peers) -> None:
    with pytest.raises(requests.ConnectionError, match="refused"):
        get(tunstack_peer("http", behaviour="refuse").url)


def test_a_lost_syn_costs_one_attempt(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("http")
    lost = peer.host.rules.drop(direction="in", flags="SYN", first=1)
    assert b"It works" in get(peer.url)
    assert lost.matched == 1


@pytest.mark.parametrize("end", ["reset-after=4096", "close-after=4096", "in:vanish-after=10"])
def test_half_an_answer_is_no_answer(tunstack_peer: Peers, end: str) -> None:
    peer = tunstack_peer("http", behaviour=end)
    with pytest.raises(requests.RequestException):
        get(f"{peer.url}bytes/100000")


def test_a_kept_connection_that_was_forgotten_is_replaced(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("http")
    with session() as client:
        assert client.get(peer.url, timeout=0.5).ok
        peer.service.wait_accepted().abort()
        assert client.get(peer.url, timeout=0.5).ok
    peer.service.wait_accepted(2)


def test_an_expired_certificate_is_refused(tunstack_peer: Peers) -> None:
    peer = tunstack_peer("https-expired")
    with session() as client, pytest.raises(requests.exceptions.SSLError, match="expired"):
        client.get(peer.url, timeout=5, verify=str(peer.authority.bundle))
