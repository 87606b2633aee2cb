"""Python's search for cycles of objects, in a process whose objects go by themselves."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATED = 50_000


@contextmanager
def collected_rarely() -> Iterator[None]:
    """For work on many records.

    A batch makes thousands of objects, none of which is part of a cycle. By its default the interpreter looks through
    them after every 700, and now and then through all that was imported, too: a tenth of a worker's processor time.
    Cycles are still found, only later.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_ALLOCATED, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
