"""The events that are measured: memories of about a kilobyte, the same on every run but for their ids."""

from __future__ import annotations

import random
from collections.abc import Iterator

from soma_cli.core.event import MemoryEvent
from soma_cli.core.eventing.producer import Draft, build_event
from soma_cli.core.ports import IndexPoint
from soma_cli.core.settings import LimitSettings

DIMENSION = 384
_TEXT_BYTES = 760
_PROSE = (
    "agent alpha answer asked batch booked broker calendar city coffee commit deploy dinner email event evening "
    "family flight garden hotel index invoice kafka language meeting memory morning music note offset partition "
    "payment plan prefers project query release remember seat search second ticket topic train travel vector "
    "version weather weekend window worker yesterday"
)
_WORDS = _PROSE.split()


def events(count: int, text_bytes: int = _TEXT_BYTES) -> list[MemoryEvent]:
    """Valid `created` events of new memories."""
    limits = LimitSettings()
    return [build_event(Draft(payload=payload), limits) for payload in payloads(count, text_bytes)]


def payloads(count: int, text_bytes: int = _TEXT_BYTES) -> Iterator[dict[str, object]]:
    """What these events hold, the same on every run."""
    words = random.Random(7)  # noqa: S311 - text, not secrets
    return ({"text": text(words, text_bytes), "source": "bench", "turn": turn} for turn in range(count))


def text(words: random.Random, length: int = _TEXT_BYTES) -> str:
    chosen = words.choices(_WORDS, k=length // 4)
    return " ".join(chosen)[:length]


def points(count: int, made_of: list[MemoryEvent]) -> Iterator[IndexPoint]:
    """The points of these events, each with an embedding of 384 numbers."""
    numbers = random.Random(11)  # noqa: S311 - figures, not secrets
    pool = [numbers.uniform(-1, 1) for _ in range(count + DIMENSION)]
    for version, event in enumerate(made_of[:count]):
        embedding = pool[version : version + DIMENSION]
        yield IndexPoint(event.id, version, False, "default", 1.0, version, version, event.payload["text"], embedding)
