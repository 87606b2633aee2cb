"""The sparse vector of a text: words without end cost no more than others."""

from __future__ import annotations

import time

import pytest

from soma_cli.core.adapters.vector_index.bm25 import LONGEST_WORD, embed_document, embed_query
from soma_cli.core.errors import ConfigurationError


def test_a_word_counts_up_to_its_longest_and_its_neighbours_as_ever() -> None:
    long = "z" * LONGEST_WORD
    whole, cut = (
        embed_document(f"Alice {long}{long} chairs", "english"),
        embed_document(f"Alice {long} chairs", "english"),
    )
    assert whole is not None
    assert cut is not None
    assert (whole.indices, whole.values) == (cut.indices, cut.values)


def test_a_megabyte_of_one_letter_takes_no_quadratic_time() -> None:
    began = time.monotonic()
    assert embed_document("y" * 1_000_000, "english") is not None
    assert time.monotonic() - began < 5, "the stemmer alone would take some 20 s"


def test_stop_words_alone_are_no_query() -> None:
    assert embed_query("the of and", "english") is None
    with pytest.raises(ConfigurationError):
        embed_query("x", "klingon")
