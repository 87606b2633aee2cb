"""What a bulk run has appended, or would have if it were not rehearsed, remembered in some 50 bytes a line."""

from __future__ import annotations

from array import array
from hashlib import blake2b

import orjson

from soma_cli.core.memory import EventKey
from soma_cli.core.operations.lines import Line

_FIRST_SIZE = 1 << 10


class Rehearsal:
    """The events of the lines so far, as hashes of 64 bits: of 10^7 runs of a million lines, about
    one sees a conflict that is none."""

    def __init__(self) -> None:
        self._seen = _HashTable()

    def __contains__(self, key: EventKey) -> bool:
        return self._seen.get(_hash(*key)) is not None

    def same_content(self, line: Line) -> bool | None:
        """Whether an earlier line of the same event has the same content; None where there is none, and this one is
        remembered. What a line did not give is not compared."""
        document = orjson.loads(line.event.value)
        given = None if "timestamp" in line.filled_in else document["timestamp"]
        content = _hash(orjson.dumps({**document, "timestamp": None}, option=orjson.OPT_SORT_KEYS).decode())
        key = _hash(*line.key)
        earlier = self._seen.get(key)
        if earlier is None:
            self._seen.put(key, content)
            if given is not None:
                self._seen.put(_hash(*line.key, "timestamp"), _hash(given))
            return None
        same_time = given is None or self._seen.get(_hash(*line.key, "timestamp")) == _hash(given)
        return earlier == content and same_time


class OffsetTable:
    """Where the events of a bulk run were appended. A hash of 64 bits stands for each.

    Of n events, two have the same one with a probability of n^2 / 2^65: 3 in 10^8 for a million events, 3 in 10^4 for a
    hundred million. A replayed line would then be taken for one that was sent before, and be left out; any other would
    be rejected as a conflict, since its content differs. 128 bits would take half as much memory again.
    """

    def __init__(self) -> None:
        self._offsets = _HashTable()

    def __contains__(self, key: EventKey) -> bool:
        return self.get(key) is not None

    def get(self, key: EventKey) -> int | None:
        return self._offsets.get(_hash(*key))

    def put(self, key: EventKey, offset: int) -> None:
        self._offsets.put(_hash(*key), offset)


def _hash(*texts: str) -> int:
    """Never 0: that is an empty place."""
    digest = blake2b("\0".join(texts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


class _HashTable:
    """Integers of 64 bits to integers of 64 bits, by open addressing: a third of the memory of a dict."""

    def __init__(self) -> None:
        self._count = 0
        self._allocate(_FIRST_SIZE)

    def get(self, key: int) -> int | None:
        place = self._place(key)
        return self._values[place] if self._keys[place] else None

    def put(self, key: int, value: int) -> None:
        if 2 * self._count >= len(self._keys):
            self._grow()
        place = self._place(key)
        self._count += not self._keys[place]
        self._keys[place], self._values[place] = key, value

    def _place(self, key: int) -> int:
        last = len(self._keys) - 1
        place = key & last
        while self._keys[place] not in (0, key):
            place = (place + 1) & last
        return place

    def _allocate(self, size: int) -> None:
        self._keys = array("Q", bytes(8 * size))
        self._values = array("Q", bytes(8 * size))

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._allocate(2 * len(keys))
        for key, value in zip(keys, values, strict=True):
            if key:
                place = self._place(key)
                self._keys[place], self._values[place] = key, value
