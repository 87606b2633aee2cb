"""Arrays and values in PostgreSQL's binary form, made without asking psycopg for each element.

A text, or None, for each element; an instant is an integer of microseconds since 1970 on both sides. Reading and
writing a batch of rows spends most of its time here, so the loops are as plain as they can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from struct import Struct, pack, unpack_from
from struct import error as struct_error
from typing import Any, ClassVar, NoReturn

from psycopg import Connection
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format

from soma_cli.core.errors import ValueRefused

_TEXT, _UUID, _INT4, _INT8, _FLOAT8, _BOOL, _TIMESTAMPTZ = 25, 2950, 23, 20, 701, 16, 1184
_EPOCH_US = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where PostgreSQL's count begins."""
_NULL = b"\xff\xff\xff\xff"
_LENGTH = Struct("!i")


class Array:
    """One binary parameter; use a subclass, whose type tells psycopg which array it is."""

    __slots__ = ("data",)
    element: ClassVar[int]

    def __init__(self, count: int, body: bytes) -> None:
        # dimensions (1, or 0 where empty), whether there may be nulls, the element's type; then length and lower bound
        head = pack("!iii", 1 if count else 0, 1, self.element)
        self.data = head + pack("!ii", count, 1) + body if count else head


class Texts(Array):
    element = _TEXT

    def __init__(self, values: Sequence[str | bytes | None]) -> None:
        """Bytes are UTF-8. Raises ValueRefused for lone surrogates; the server refuses null characters."""
        super().__init__(len(values), b"".join([self.packed(value) for value in values]))

    @staticmethod
    def packed(value: str | bytes | None) -> bytes:
        if value is None:
            return _NULL
        try:
            data = value if isinstance(value, bytes) else value.encode()
        except UnicodeEncodeError as error:
            refuse(error)
        return _LENGTH.pack(len(data)) + data


class Labels(Array):
    """Texts of which there are few different ones."""

    element = _TEXT

    def __init__(self, values: Sequence[str | None]) -> None:
        packed = {value: Texts.packed(value) for value in set(values)}
        super().__init__(len(values), b"".join([packed[value] for value in values]))


class Uuids(Array):
    element = _UUID

    def __init__(self, values: Sequence[str | None]) -> None:
        read = bytes.fromhex
        parts = [_NULL if value is None else b"\0\0\0\x10" + read(value.replace("-", "")) for value in values]
        super().__init__(len(values), b"".join(parts))


class _Fixed(Array):
    code: ClassVar[str]
    width: ClassVar[int]

    def __init__(self, values: Sequence[float]) -> None:
        pairs: list[float] = [self.width] * (2 * len(values))
        pairs[1::2] = values
        try:
            body = pack("!" + ("i" + self.code) * len(values), *pairs)
        except struct_error as error:
            refuse(error)
        super().__init__(len(values), body)


class Integers(_Fixed):
    element, code, width = _INT4, "i", 4


class Bigints(_Fixed):
    element, code, width = _INT8, "q", 8


class Doubles(_Fixed):
    element, code, width = _FLOAT8, "d", 8


class Booleans(_Fixed):
    element, code, width = _BOOL, "?", 1


class Instants(_Fixed):
    element, code, width = _TIMESTAMPTZ, "q", 8

    def __init__(self, values: Iterable[int]) -> None:
        super().__init__([value - _EPOCH_US for value in values])


class Instant:
    """One timestamptz; what lies beyond the years that PostgreSQL counts is brought to their edge."""

    __slots__ = ("data",)

    def __init__(self, instant: int) -> None:
        self.data = pack("!q", min(max(instant - _EPOCH_US, -(2**57)), 2**62))


def refuse(error: Exception) -> NoReturn:
    raise ValueRefused(f"the store cannot hold a value of this batch: {error}") from error


def _dumper(type_id: int) -> type[Dumper]:
    class Binary(Dumper):
        format = Format.BINARY
        oid = type_id

        def dump(self, obj: Array | Instant) -> Buffer:
            return obj.data

    return Binary


def _loader(read: Callable[[Buffer], Any]) -> type[Loader]:
    class Binary(Loader):
        format = Format.BINARY

        def load(self, data: Buffer) -> Any:
            return read(data)

    return Binary


def _uuid(data: Buffer) -> str:
    text = bytes(data).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _instant(data: Buffer) -> int:
    count: int = unpack_from("!q", data)[0]
    return count + _EPOCH_US


_ARRAY_TYPES: dict[type[Array], int] = {
    Texts: 1009,
    Labels: 1009,
    Uuids: 2951,
    Integers: 1007,
    Bigints: 1016,
    Doubles: 1022,
    Booleans: 1000,
    Instants: 1185,
}
_DUMPERS: dict[type[Array] | type[Instant], type[Dumper]] = {
    kind: _dumper(array_type) for kind, array_type in _ARRAY_TYPES.items()
} | {Instant: _dumper(_TIMESTAMPTZ)}
_LOADERS = {_UUID: _loader(_uuid), _TIMESTAMPTZ: _loader(_instant)}


def adapt(connection: Connection[Any]) -> None:
    """Teach a connection these types. Its cursors must return binary results."""
    for kind, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(kind, dumper)
    for type_id, loader in _LOADERS.items():
        connection.adapters.register_loader(type_id, loader)
