"""All behaviours by name: a client gets the page or an error, in time, whatever its peer does."""

import time
from contextlib import suppress

import pytest
import requests

from tunstack import behaviours
from tunstack.pytest_plugin import Peers

WITHIN = 0.3  # Seconds in which the page has come, or the client gives up.


def fetch(url: str) -> bytes:
    """The program to test. The timeout of requests is for each read; this one is for all."""
    deadline = time.monotonic() + WITHIN
    page = b""
    with requests.get(url, timeout=WITHIN, stream=True) as answer:
        answer.raise_for_status()
        for part in answer.iter_content(10):
            page += part
            if time.monotonic() > deadline:
                raise requests.Timeout("the page takes too long")
    return page


@pytest.mark.parametrize("behaviour", [each.example for each in behaviours.catalogue()])
def test_the_page_comes_or_an_error(tunstack_peer: Peers, behaviour: str) -> None:
    peer = tunstack_peer("http", behaviour=behaviour)
    with suppress(requests.RequestException):
        assert fetch(peer.url).startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("silent", requests.ConnectTimeout),
        ("refuse", requests.ConnectionError),
        ("reset-on-accept", requests.ConnectionError),
        ("stall-after=10", requests.ReadTimeout),
        ("trickle=10/10ms", requests.Timeout),
    ],
)
def test_the_error_says_what_happened(
    tunstack_peer: Peers, behaviour: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        fetch(tunstack_peer("http", behaviour=behaviour).url)


# Not unclosed: requests takes an end without close_notify for the end of the answer.
@pytest.mark.parametrize("how", ["expired", "wrong-name", "self-signed", "stalled", "damaged"])
def test_tls_that_is_wrong_is_refused(tunstack_peer: Peers, how: str) -> None:
    peer = tunstack_peer(f"https-{how}")
    with pytest.raises(requests.RequestException):
        requests.get(peer.url, timeout=WITHIN, verify=str(peer.authority.bundle))
