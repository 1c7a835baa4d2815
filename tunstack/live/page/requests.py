"""What is answered to a request, and what a query asks for."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, get_args
from urllib.parse import parse_qsl, urlsplit

from tunstack.live.sample import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST: Final = 50
"""Connections that are shown, if the query does not say how many."""
_MOST_OF_ALL: Final = 500
_LARGEST: Final = 2**53
"""What JavaScript counts to."""
_OPENED: Final = "opened"
_ORDERS: Final = (_OPENED, *get_args(Order))
_STATES: Final = 20
"""Characters of the longest name of a state, and more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with.

    Attributes:
        status: The status.
        content_type: The header Content-Type.
        body: The body.
        last: Whether the connection ends with it.
    """

    status: HTTPStatus
    content_type: str
    body: bytes
    last: bool = False

    @classmethod
    def refusal(cls, status: HTTPStatus, reason: str) -> Answer:
        """A line for people, and the end."""
        return cls(status, "text/plain; charset=utf-8", f"{reason}\n".encode(), last=True)


class RefusedError(Exception):
    """A request is refused.

    Attributes:
        status: The status.
        reason: A line for people.
    """

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of ``/data``.

    Attributes:
        order: By what connections are chosen, if there are more than `most`: ``opened`` is by rate,
            in an order that does not change.
        most: How many connections, at most.
        port: Only those with this port, on either side.
        state: Only those in this state.
        own: Whether the connections of the page itself are shown too.
        follow: The connection whose packets are shown, by its ``id``.
        view: The view that `row` and `point` count in; another one begins from its first.
        row: The first row of the ladder that is new.
        point: The first point of the plots that is new.
    """

    order: Order = "rate"
    most: int = MOST
    port: int | None = None
    state: str | None = None
    own: bool = False
    follow: int | None = None
    view: str = ""
    row: int = 0
    point: int = 0


def check_request(method: str, headers: Mapping[str, str], is_ours: Callable[[str], bool]) -> None:
    """Check that a request only asks, and comes from a page of ours or from no page.

    A page of another site may ask a browser to fetch what is here; one whose name was made to mean
    our address (DNS rebinding) would even be of the same origin. So the request must be for an
    address, or a name of ours.

    Args:
        method: The request's.
        headers: Its headers, by their names in lower case.
        is_ours: Whether the page may be reached by a name, in lower case.

    Raises:
        RefusedError: it does not.
    """
    if method not in ("GET", "HEAD"):
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{method[:20]} changes nothing here")
    host = _host_of(headers.get("host", ""))
    if not _is_address(host) and not is_ours(host):
        raise RefusedError(
            HTTPStatus.MISDIRECTED_REQUEST, "this page is reached by its address, or its own name"
        )
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise RefusedError(HTTPStatus.FORBIDDEN, "this is for its own page only")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
        raise RefusedError(HTTPStatus.FORBIDDEN, "this is for its own page only")


def _host_of(field: str) -> str:
    """The host of a Host header, without its port."""
    try:
        return urlsplit(f"//{field}").hostname or ""
    except ValueError:
        return ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def parse_query(text: str) -> Query:
    """Parse the query of ``/data``: ``"port=80&state=estab"``.

    Raises:
        RefusedError: a name is unknown, or a value invalid.
    """
    try:
        given = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
        query = _query(given)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None
    return query


def _query(given: dict[str, str]) -> Query:
    order = given.pop("order", _OPENED)
    if order not in _ORDERS:
        raise ValueError(f"order is one of {', '.join(_ORDERS)}")
    chosen: Order = "rate"
    for each in get_args(Order):
        chosen = each if each == order else chosen
    port, state = given.pop("port", ""), given.pop("state", "")
    follow = given.pop("follow", "")
    query = Query(
        order=chosen,
        most=_number("most", given.pop("most", str(MOST)), _MOST_OF_ALL),
        port=_number("port", port, 0xFFFF) if port else None,
        state=state[:_STATES] or None,
        own=bool(_number("own", given.pop("own", "0"), 1)),
        follow=_number("follow", follow, _LARGEST) if follow else None,
        view=given.pop("view", "")[:_STATES],
        row=_number("row", given.pop("row", "0"), _LARGEST),
        point=_number("point", given.pop("point", "0"), _LARGEST),
    )
    if given:
        raise ValueError("there is no such parameter: order, most, port, state, own and follow are")
    return query


def _number(name: str, text: str, most: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not 0 <= number <= most:
        raise ValueError(f"{name} is a number from 0 to {most}")
    return number


__all__ = ["MOST", "Answer", "Query", "RefusedError", "check_request", "parse_query"]
