"""Pairs whose truth is known from how they were made, and pairs of which documents are asked."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from tests.compatibility.documents import Documents
from tests.compatibility.generator import Generator
from tests.compatibility.loosenings import altered, related
from tests.compatibility.pair import NOTHING, Case
from tests.compatibility.rewritings import rewritten
from tests.compatibility.validator import validator


def looser(seed: int, pairs: int, depth: int = 2) -> Iterator[Case]:
    """The reader accepts more than the writer, or as much."""
    for number in range(pairs):
        random = Random(f"looser/{seed}/{number}")
        tight, loose = related(random, Generator(random).document(depth))
        yield Case(f"looser {seed}/{number}", tight, loose, NOTHING)


def equal(seed: int, pairs: int, depth: int = 2) -> Iterator[Case]:
    """The two say the same in other words."""
    for number in range(pairs):
        random = Random(f"equal/{seed}/{number}")
        first = Generator(random).document(depth)
        second = rewritten(random, first)
        if random.random() < 0.4:
            second = rewritten(random, second)
        pair = (first, second) if random.random() < 0.5 else (second, first)
        yield Case(f"equal {seed}/{number}", *pair, NOTHING)


def unknown(seed: int, pairs: int, depth: int = 2) -> Iterator[Case]:
    """Any two: made apart, or one from the other. `witness` is what a search among likely documents finds, if any."""
    for number in range(pairs):
        random = Random(f"unknown/{seed}/{number}")
        generator = Generator(random)
        first = generator.document(depth)
        second = generator.document(depth) if random.random() < 0.4 else altered(random, first)
        pair = (first, second) if random.random() < 0.5 else (second, first)
        yield Case(f"unknown {seed}/{number}", *pair, searched(random, *pair))


def searched(random: Random, writer: Any, reader: Any, documents: int = 60) -> Any:
    """A document that the writer accepts and the reader refuses, or NOTHING where none was met."""
    accepts, reads = validator(writer).is_valid, validator(reader).is_valid
    for schema in (writer, reader):
        for document in Documents(random, schema).some(documents // 2):
            if accepts(document) and not reads(document):
                return document
    return NOTHING
