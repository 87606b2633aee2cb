"""Texts to the sparse vectors of lexical search: one BM25 for both profiles, no model, no download.

BM25 with k = 1.2, b = 0.75 and an average length of 256 tokens; the collection multiplies by the inverse document
frequency. Accents are folded, so that `cafe` finds `Café`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from soma_cli.core.errors import ConfigurationError

if TYPE_CHECKING:
    from qdrant_edge import Bm25, SparseVector

VECTOR = "bm25"
"""The name of the sparse vector in every collection."""


LONGEST_WORD = 256
"""Characters; what a word has beyond them is not looked at."""

_TOO_LONG = re.compile(rf"(?<!\w)\w{{{LONGEST_WORD + 1},}}")


def embed_document(text: str, language: str) -> SparseVector | None:
    """Token numbers and weights of a memory's text; None where no token is left. Raises ConfigurationError."""
    return _not_empty(_model(language).embed_document(_cut(text)))


def embed_query(text: str, language: str) -> SparseVector | None:
    """The same for a search; None where nothing but stop words is asked for."""
    return _not_empty(_model(language).embed_query(_cut(text)))


def _cut(text: str) -> str:
    """The text with no word beyond the longest: the stemmer takes quadratic time for some that never end."""
    if len(text) <= LONGEST_WORD or max(map(len, text.split()), default=0) <= LONGEST_WORD:
        return text
    return _TOO_LONG.sub(lambda word: word[0][:LONGEST_WORD], text)


def _not_empty(vector: SparseVector) -> SparseVector | None:
    return vector if vector.indices else None


@lru_cache(maxsize=8)
def _model(language: str) -> Bm25:
    from qdrant_edge import Bm25, Bm25Config

    try:
        return Bm25(Bm25Config(k=1.2, b=0.75, avg_len=256.0, language=language, lowercase=True, ascii_folding=True))
    except ValueError as error:
        raise ConfigurationError(
            f"the search index knows no language {language!r}",
            hint="set index.language to one such as english, german, french, spanish or chinese",
            code="unknown_language",
        ) from error
