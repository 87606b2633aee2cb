"""Offsets as people write them."""

from __future__ import annotations

import pytest

from soma_cli.core.errors import UsageError
from soma_cli.core.operations.offsets import resolve_offset
from soma_cli.core.ports import Bounds

BOUNDS = Bounds(10, 50)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("beginning", 10),
        ("end", 50),
        ("stored", 33),
        ("12", 12),
        ("50", 50),
        ("10", 10),
        ("-1", 49),
        ("-40", 10),
        ("-41", 10),
        ("-999999", 10),
        ("-0", 50),
        ("007", 7),
    ],
)
def test_an_offset_is_a_word_a_number_or_so_many_before_the_end(text: str, offset: int) -> None:
    assert resolve_offset(text, BOUNDS, stored=33) == offset


@pytest.mark.parametrize("text", ["", "begin", "1.5", "+3", "--1", " 1", "1\n", "\u0663", "1e3", "9" * 5000, "END"])
def test_what_is_no_offset_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an offset") as error:
        resolve_offset(text, BOUNDS, stored=33)
    assert "beginning" in error.value.hint
    assert len(error.value.message) < 200


def test_stored_needs_a_stored_position() -> None:
    with pytest.raises(UsageError, match="'stored'"):
        resolve_offset("stored", BOUNDS)
    assert resolve_offset("stored", BOUNDS, stored=0) == 0


def test_an_offset_behind_the_end_is_refused() -> None:
    with pytest.raises(UsageError, match="51 is behind the end 50"):
        resolve_offset("51", BOUNDS)
