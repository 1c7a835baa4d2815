"""``tunstack trace --svg``: what is drawn, as data, and the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.ladder.exchange import Exchange, ping
from tests.ladder.spoken import Talk, tls_talk
from tunstack.cli import main
from tunstack.ladder import step_from_observation
from tunstack.ladder.drawing import Arrow, Heading, Ladder, ladder_svg
from tunstack.ladder.picture import Picture
from tunstack.path.pcapng import PcapngWriter
from tunstack.tcp.segment import ACK

if TYPE_CHECKING:
    from pathlib import Path

    from tunstack.ladder.drawing import Rung


def rungs_of(exchange: Exchange, **options: object) -> list[Rung]:
    picture = Picture(names=("kernel", "tunstack"), **options)  # type: ignore[arg-type]
    for seen in exchange.observations:
        picture.add(step_from_observation(seen))
    return list(picture.drawn("x").rungs)


def write(path: Path, exchange: Exchange) -> str:
    with PcapngWriter(path) as writer:
        for seen in exchange.observations:
            writer.write(seen.packet, seen.time, seen.comment, seen.direction == "out")
    return str(path)


def test_a_handshake_has_a_heading_and_three_arrows() -> None:
    exchange = Exchange()
    exchange.handshake()
    exchange.receive(ACK, 1, 1, verdict="dropped: bad TCP checksum")
    heading, syn, both, ack, dropped = rungs_of(exchange)
    assert heading == Heading(1, "kernel 198.51.100.1:40312", "198.51.100.2:80 tunstack")
    assert syn == Arrow(
        "0.000",
        1,
        "right",
        "SYN seq 0 win 64240",
        ("mss 1460, sackOK, ts, wscale 7",),
        (),
        "LISTEN → SYN-RECEIVED",
        True,
    )
    assert isinstance(both, Arrow)
    assert isinstance(ack, Arrow)
    assert isinstance(dropped, Arrow)
    assert (both.toward, ack.state) == ("left", "SYN-RECEIVED → ESTABLISHED")
    assert dropped.note == ("! dropped: bad TCP checksum",)


def test_messages_are_below_their_arrow_and_runs_are_folded() -> None:
    talk = Talk(tls_talk(answer=bytes(60_000)), our_port=443)
    arrows = [rung for rung in rungs_of(talk) if isinstance(rung, Arrow)]
    assert arrows[3].below[0].startswith("TLS ClientHello, server name peer.test, ")
    folded = [arrow for arrow in arrows if arrow.toward is None]
    assert len(folded) == 1
    assert folded[0].text.startswith("… ")
    assert all(arrow.toward for arrow in rungs_of(talk, full=True) if isinstance(arrow, Arrow))


def test_only_a_port() -> None:
    exchange = Exchange()
    exchange.handshake()
    assert rungs_of(exchange, only=[81]) == []


def test_the_drawing_is_whole_and_has_both_colour_schemes() -> None:
    exchange = Exchange()
    exchange.handshake()
    exchange.add("in", ping(reply=False))
    text = ladder_svg(Ladder("<&>", "ms", rungs_of(exchange)))
    root = ET.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    texts = [each.text for each in root.iter(f"{name}text")]
    assert "<&>" in texts
    assert "SYN seq 0 win 64240" in texts
    assert "@media (prefers-color-scheme:dark)" in text
    assert "Mono" in root.attrib["font-family"]
    used = {
        css
        for each in root.iter()
        for css in each.get("class", "").split()
        if css not in ("", "bold")
    }
    for scheme in text.split("@media"):
        assert {css for css in used if f".{css}{{" in scheme} == used
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for each in root.iter(f"{name}text"):
        assert 0 <= float(each.attrib["x"]) < width
        assert 0 < float(each.attrib["y"]) < height


def test_the_command_writes_the_file_and_prints_its_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = Exchange()
    exchange.handshake()
    file, out = write(tmp_path / "x.pcapng", exchange), str(tmp_path / "x.svg")
    assert main(["trace", file, "--svg", out]) == 0
    assert capfd.readouterr().out == f"{out}\n"
    text = (tmp_path / "x.svg").read_text()
    assert "<title>x.pcapng</title>" in text
    assert ">SYN-RECEIVED → ESTABLISHED<" in text
    assert main(["trace", file, "--svg", "-"]) == 0
    assert capfd.readouterr().out == text
    assert len(re.findall(r'class="c0" stroke-width="1.4"', text)) == 3


def test_the_capture_is_not_overwritten(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    exchange = Exchange()
    exchange.handshake()
    file = write(tmp_path / "x.pcapng", exchange)
    assert main(["trace", file, "--svg", file]) == 2
    assert capfd.readouterr().err == (
        f"tunstack trace: {file} is the capture: name another file with --svg\n"
    )


@pytest.mark.parametrize("out", ["/dev/full", "/nonexistent/x.svg"])
def test_a_file_that_cannot_be_written_is_one_line(
    out: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = Exchange()
    exchange.handshake()
    assert main(["trace", write(tmp_path / "x.pcapng", exchange), "--svg", out]) == 2
    assert capfd.readouterr().err.startswith(f"tunstack trace: cannot write {out}: ")


def test_a_damaged_capture_is_drawn_up_to_the_damage(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = Exchange()
    exchange.handshake()
    path, out = tmp_path / "x.pcapng", tmp_path / "x.svg"
    write(path, exchange)
    path.write_bytes(path.read_bytes()[:-7])
    assert main(["trace", str(path), "--svg", str(out)]) == 2
    assert "truncated capture" in capfd.readouterr().err
    assert "SYN,ACK" in out.read_text()


def test_nothing_to_draw_writes_no_file(tmp_path: Path) -> None:
    exchange = Exchange()
    exchange.handshake()
    out = tmp_path / "x.svg"
    file = write(tmp_path / "x.pcapng", exchange)
    assert main(["trace", file, "--only", "81", "--svg", str(out)]) == 2
    assert not out.exists()
