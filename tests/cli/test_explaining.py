"""Each packet of the demo has its line, in whichever order the ends close."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from tests.ladder.exchange import Exchange
from tests.ladder.spoken import Talk, tls_talk
from tunstack.cli.output.explaining import CLOSING, OPENING, SECURING, TALKING, Explainer
from tunstack.ladder import step_from_observation
from tunstack.tcp.segment import ACK, FIN, PSH, RST

if TYPE_CHECKING:
    from collections.abc import Iterable


def explained(exchange: Exchange) -> list[tuple[str, str]]:
    explainer = Explainer()
    return [explainer.explain(step_from_observation(seen)) for seen in exchange.observations]


def lines(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The lines, for which the demo has 80 columns less the indent and the parentheses."""
    found = [line for _, line in pairs]
    assert max(map(len, found)) <= 63
    return found


def opened() -> Exchange:
    exchange = Exchange()
    exchange.handshake()
    return exchange


def test_the_phases_of_a_connection_over_tls_are_in_order() -> None:
    phases = [phase for phase, _ in explained(Talk(tls_talk(), most=5000))]
    assert [phase for at, phase in enumerate(phases) if phase != phases[at - 1]] == [
        OPENING,
        SECURING,
        TALKING,
        CLOSING,
    ]


def test_the_words_of_a_connection_over_tls() -> None:
    pairs = explained(Talk(tls_talk(), most=5000))
    assert lines(pairs)[3:] == [
        "Readable: the server's name (SNI), versions, protocols (ALPN).",
        "Keys are agreed; the certificate follows, already encrypted.",
        "The certificate is verified: Finished, by the client.",
        "Session tickets, encrypted: a later handshake can be shorter.",
        "The request, encrypted.",
        "The answer, encrypted.",
        "close_notify, the client's: TLS has nothing more to carry.",
        "close_notify, ours: TLS has nothing more to carry.",
    ]


def test_a_request_in_the_segment_of_finished_is_told() -> None:
    said = tls_talk()
    joined = [*said[:2], ("client", said[2][1] + said[4][1]), *said[5:]]
    pairs = explained(Talk(joined, most=5000))
    assert pairs[5] == (SECURING, "The certificate is verified: Finished, and the request.")
    assert pairs[6] == (TALKING, "The answer, encrypted.")


def test_tls_1_2_is_explained_too() -> None:
    said = tls_talk(newest=ssl.TLSVersion.TLSv1_2)
    assert "The request, encrypted." in lines(explained(Talk(said, most=5000)))


def test_the_kernel_closes_first() -> None:
    exchange = opened()
    exchange.receive(FIN | ACK, 1, 1, after="CLOSE-WAIT")
    exchange.send(ACK, 1, 2)
    exchange.send(PSH | ACK, 1, 2, payload=b"data")
    exchange.send(FIN | ACK, 5, 2, after="LAST-ACK")
    exchange.receive(ACK, 2, 6, after=None)
    pairs = explained(exchange)[3:]
    assert {phase for phase, _ in pairs} == {CLOSING}
    assert lines(pairs) == [
        "The kernel's side sends no more: FIN. It still receives.",
        "The FIN is acknowledged: in CLOSE-WAIT we may still send.",
        "Data after the client's FIN, in CLOSE-WAIT.",
        "Our FIN: we send no more either.",
        "Our FIN is acknowledged: closed here, TIME-WAIT at the kernel.",
    ]


def test_our_side_closes_first() -> None:
    exchange = opened()
    exchange.send(FIN | ACK, 1, 1, after="FIN-WAIT-1")
    exchange.receive(ACK, 1, 2, after="FIN-WAIT-2")
    exchange.receive(FIN | ACK, 1, 2, after="TIME-WAIT")
    exchange.send(ACK, 2, 2)
    assert lines(explained(exchange)[3:]) == [
        "Our FIN: we send no more. The kernel's side still may.",
        "Our FIN is acknowledged: we send no more, and still receive.",
        "The kernel's FIN: both halves are closed, and we wait 2 MSL.",
        "The FIN is acknowledged; if this is lost, the FIN comes again.",
    ]


def test_both_close_at_once() -> None:
    exchange = opened()
    exchange.send(FIN | ACK, 1, 1, after="FIN-WAIT-1")
    exchange.receive(FIN | ACK, 1, 1, after="CLOSING")
    exchange.send(ACK, 2, 2)
    exchange.receive(ACK, 2, 2, after="TIME-WAIT")
    told = lines(explained(exchange)[3:])
    assert told[1] == "The kernel's FIN, which has crossed ours."
    assert told[3] == "Our FIN is acknowledged as well: TIME-WAIT."


def test_data_that_ends_in_a_fin_and_a_reset() -> None:
    exchange = opened()
    exchange.receive(PSH | FIN | ACK, 1, 1, payload=b"data", after="CLOSE-WAIT")
    exchange.receive(RST, 6, after=None)
    pairs = explained(exchange)[3:]
    assert pairs[0] == (CLOSING, "The request, and the FIN: the kernel's side sends no more.")
    assert pairs[1] == (CLOSING, "The connection is gone at this side: RST.")
