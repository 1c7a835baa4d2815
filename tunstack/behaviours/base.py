"""What every behaviour has: a name, values that can be written as text, and its hooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tunstack.behaviours.port import Port
    from tunstack.behaviours.values import Kind
    from tunstack.socket import TcpStream

Protocol: TypeAlias = Literal["tcp", "udp"]
Direction: TypeAlias = Literal["in", "out", "both"]
Handler: TypeAlias = "Callable[[TcpStream], Awaitable[object]]"
Part: TypeAlias = Literal["opening", "program", "ending", "time", "path", "segments", "choice"]
"""What of a connection is concerned, for the listing and for contradictions."""

TCP: Final[tuple[Protocol, ...]] = ("tcp",)
TCP_AND_UDP: Final[tuple[Protocol, ...]] = ("tcp", "udp")


class Parameter(NamedTuple):
    """A value of a behaviour.

    Attributes:
        field: The name of the dataclass's field.
        kind: What it is.
        shown: How usage lines name it.
    """

    field: str
    kind: Kind
    shown: str


Place: TypeAlias = tuple[Parameter, ...]
"""A value in the text of a behaviour: one of these parameters, the first that can read it."""


@dataclass(frozen=True)
class Behaviour:
    """A way in which a peer misbehaves, or the network before it, on one port.

    Each is a frozen dataclass. Its text, ``str(behaviour)``, is that of the command line, as
    ``reset-after=4096``.

    Attributes:
        name: In texts.
        summary: What the client meets, in one line.
        example: A text with values.
        copes: What a robust client does about it.
        part: What of a connection it concerns.
        places: Its values, with a slash between them in the text.
        needed: How many of its values a text must have.
        ways: The directions that it can be of, if it has a field `way`.
        protocols: ``"tcp"``, ``"udp"`` or both.
        one_process: Whether it counts connections, or shares something among them: not with several
            workers.
        excludes_all: Whether no connection is opened, so that there is nothing for another
            behaviour to do.
        usable_for_some: Whether it can be limited to some of the connections, as by ``first=2``.

    Raises:
        ValueError: a value is out of range.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    example: ClassVar[str]
    copes: ClassVar[str]
    part: ClassVar[Part]
    places: ClassVar[tuple[Place, ...]] = ()
    needed: ClassVar[int] = 0
    ways: ClassVar[tuple[Direction, ...]] = ("in", "out", "both")
    protocols: ClassVar[tuple[Protocol, ...]] = TCP
    one_process: ClassVar[bool] = False
    excludes_all: ClassVar[bool] = False
    usable_for_some: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = [
            [each for each in place if getattr(self, each.field) is not None]
            for place in self.places
        ]
        for parameter in (each for place in given for each in place):
            value = getattr(self, parameter.field)
            if not parameter.kind.allows(value):
                raise ValueError(
                    f"{self.name}: {parameter.field} must be {parameter.kind.range()},"
                    f" not {value!r}"
                )
        if self.has_ways() and self.way not in self.ways:  # type: ignore[attr-defined]
            raise ValueError(
                f"{self.name}: way must be {' or '.join(self.ways)}, not {self.way!r}"  # type: ignore[attr-defined]
            )

    def __str__(self) -> str:
        values: list[str] = []
        told = 0
        for place in self.places:
            used = next((each for each in place if getattr(self, each.field) is not None), None)
            if used is None:
                break
            values.append(used.kind.write(getattr(self, used.field)))
            if len(values) <= self.needed or not self._is_default(used):
                told = len(values)
        del values[told:]
        way = getattr(self, "way", None)
        prefix = "" if way == self._usual_way() else f"{way}:"
        return f"{prefix}{self.name}" + (f"={'/'.join(values)}" if values else "")

    def _is_default(self, parameter: Parameter) -> bool:
        field = self.__dataclass_fields__[parameter.field]
        return bool(getattr(self, parameter.field) == field.default)

    @classmethod
    def has_ways(cls) -> bool:
        """Whether a text may begin with ``in:`` or ``out:``."""
        return "way" in cls.__dataclass_fields__

    @classmethod
    def _usual_way(cls) -> str | None:
        return str(cls.__dataclass_fields__["way"].default) if cls.has_ways() else None

    @classmethod
    def usage(cls) -> str:
        """Return how it is written, as ``[in:]reset-after=OCTETS|TIME``."""
        shown = ["|".join(each.shown for each in place) for place in cls.places]
        text = "".join(
            (("=" if not at else "/") + each)
            if at < cls.needed
            else f"[{'=' if not at else '/'}{each}]"
            for at, each in enumerate(shown)
        )
        usual = cls._usual_way()
        way = {"out": "[in:]", "in": "[out:]", "both": "[in:|out:]"}.get(usual or "", "")
        return f"{way}{cls.name}{text}"

    @classmethod
    def read(cls, value: str | None, way: Direction | None) -> Self:
        """Make it of its text.

        Args:
            value: What follows the equals sign; None if there is none.
            way: The direction before its name, if there is one.

        Raises:
            ValueError: says what was expected.
        """
        fields: dict[str, Any] = {}
        if way is not None:
            if not cls.has_ways():
                raise ValueError(f"{cls.name} has no direction: leave out {way}:")
            fields["way"] = way
        texts = [] if value is None else value.split("/")
        if len(texts) < cls.needed or (value is not None and not cls.places):
            takes = f"needs a value, as in {cls.example}" if cls.places else "takes no value"
            raise ValueError(f"{cls.name} {takes}")
        if len(texts) > len(cls.places):
            raise ValueError(f"{cls.name} takes {len(cls.places)} values at most: {cls.usage()}")
        for place, text in zip(cls.places, texts, strict=False):
            fields |= cls._read_place(place, text.strip())
        return cls(**fields)

    @classmethod
    def _read_place(cls, place: Place, text: str) -> dict[str, Any]:
        for parameter in place:
            read = parameter.kind.read(text)
            if read is not None:
                return {parameter.field: read}
        wanted = ", or ".join(parameter.kind.wanted for parameter in place)
        raise ValueError(f"{cls.name} must be {wanted}, as in {cls.example}, not {text!r}")

    # Hooks

    def options(self) -> dict[tuple[int, int], int]:
        """Return options of the listening socket, by level and name."""
        return {}

    def install(self, port: Port) -> None:
        """Add the rules of a port; they are removed with it."""

    async def serve(self, port: Port, stream: TcpStream, handler: Handler) -> None:
        """Serve one connection, by `handler` or in its place."""
        await handler(stream)
