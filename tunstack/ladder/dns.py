"""Read DNS messages for the ladder (RFC 1035 section 4), with dnspython.

Of a malformed message, what was read before the fault is shown. A message of more than 4 KiB has
its question shown only, as reading time grows with its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunstack.ladder.message import Message, shorten

if TYPE_CHECKING:
    import dns.message
    import dns.rrset

PORT: Final = 53
_HEADER: Final = 12
_MOST_OCTETS: Final = 4096
_MOST_ANSWERS: Final = 4
"""Records of an answer that are shown; the others are counted."""
_ADDRESSES: Final = ("A", "AAAA")


def read_dns(data: bytes) -> Message:
    """Describe one message; never raises for what is in it."""
    if len(data) < _HEADER:
        return Message("malformed", ("DNS", f"malformed: {len(data)} octets"))
    answers = bool(data[2] & 0x80)
    kind = "answer" if answers else "query"
    identifier = f"id {int.from_bytes(data[:2], 'big')}"
    try:
        message, wrong = _parse(data)
        question = _question(message)
        title = (f"DNS {kind}", *question, identifier)
        details = [*_header(message), *_records(message)] if answers else _of_query(message)
        if len(data) > _MOST_OCTETS:
            details = [*_header(message), f"{len(data)} bytes"]
    except ModuleNotFoundError:
        return Message(kind, (f"DNS {kind}", identifier), ("not read: dnspython is missing",))
    except Exception as error:  # dnspython has errors of many classes, and not only its own.
        title, details, message = (f"DNS {kind}", identifier), [], None
        wrong = _name_of(error)
    if wrong:
        details.append(f"malformed: {wrong}")
    if message is None:
        return Message(kind, title, tuple(details))
    found = _found(message)
    plain = not wrong and not message.rcode() and not _is_truncated(message)
    name = str(message.question[0].name).rstrip(".") if message.question else ""
    return Message(kind, title, tuple(details), plain, name=name, answers=found)


def _parse(data: bytes) -> tuple[dns.message.Message, str]:
    """The message, and what is wrong with it."""
    import dns.message  # Here, as it is slow to import, and most captures have none.

    message = dns.message.from_wire(
        data,
        continue_on_error=True,
        ignore_trailing=True,
        question_only=len(data) > _MOST_OCTETS,
        one_rr_per_rrset=False,
    )
    wrong = _name_of(message.errors[0].exception) if message.errors else ""
    return message, wrong


def _name_of(error: BaseException) -> str:
    return shorten(str(error) or type(error).__name__, 40)


def _question(message: dns.message.Message) -> list[str]:
    """The type and the name of the first question."""
    import dns.rdataclass
    import dns.rdatatype

    if not message.question:
        return ["no question"]
    first = message.question[0]
    kind = dns.rdatatype.to_text(first.rdtype)
    if first.rdclass != dns.rdataclass.IN:
        kind = f"{dns.rdataclass.to_text(first.rdclass)} {kind}"
    more = len(message.question) - 1
    return [shorten(f"{kind} {_text(first.name)}"), *([f"and {more} more"] if more else [])]


def _text(name: object) -> str:
    text = str(name)
    return shorten(text if text == "." else text.removesuffix("."), 48)


def _header(message: dns.message.Message) -> list[str]:
    """What the header of an answer says beyond the usual."""
    import dns.flags
    import dns.rcode

    said = []
    if message.rcode():
        said.append(dns.rcode.to_text(message.rcode()))
    if message.flags & dns.flags.TC:
        said.append("truncated (TC)")
    if message.flags & dns.flags.AA:
        said.append("authoritative")
    return said


def _of_query(message: dns.message.Message) -> list[str]:
    import dns.opcode

    said = []
    if message.opcode():
        said.append(dns.opcode.to_text(message.opcode()))
    if message.edns >= 0:
        said.append(f"EDNS {message.payload}")
    return said


def _is_truncated(message: dns.message.Message) -> bool:
    import dns.flags

    return bool(message.flags & dns.flags.TC)


def _records(message: dns.message.Message) -> list[str]:
    """The records of an answer, or of the authority where there is none."""
    said: list[str] = []
    total = 0
    owner = message.question[0].name if message.question else None
    for rrset in message.answer or message.authority:
        for rdata in rrset:
            total += 1
            if total > _MOST_ANSWERS:
                continue
            said.append(_record(rrset, rdata, named=rrset.name != owner))
    if total > _MOST_ANSWERS:
        said.append(f"and {total - _MOST_ANSWERS} more")
    elif not total and not message.rcode():
        said.append("no records")
    return said


def _record(rrset: dns.rrset.RRset, rdata: object, *, named: bool) -> str:
    import dns.rdatatype

    kind = dns.rdatatype.to_text(rrset.rdtype)
    owner = f"{_text(rrset.name)} " if named else ""
    kind = "" if kind in _ADDRESSES else f"{kind} "
    return shorten(f"{owner}{kind}{str(rdata)[:200]} ttl {rrset.ttl}")


def _found(message: dns.message.Message) -> tuple[str, ...]:
    """The addresses of an answer."""
    import dns.rdatatype

    return tuple(
        str(rdata)
        for rrset in message.answer
        if dns.rdatatype.to_text(rrset.rdtype) in _ADDRESSES
        for rdata in rrset
    )


class DnsStream:
    """Messages over TCP, each after its length in two octets (RFC 7766 section 8)."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, piece: bytes | int) -> list[Message] | None:
        """Add octets in order; returns the messages that are complete, None if it cannot go on."""
        if isinstance(piece, int):
            return None
        data, at = self._data + piece, 0
        messages = []
        while len(data) >= at + 2:
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            if len(data) < end:
                break
            messages.append(read_dns(data[at + 2 : end]))
            at = end
        self._data = data[at:]
        return messages
