"""What the engine's failures are called: damage where data is opened, no damage where a query was asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from soma_cli.core.adapters.vector_index.edge_query import query_request
from soma_cli.core.adapters.vector_index.engine_errors import engine_errors
from soma_cli.core.errors import DataFolderError, ServiceUnavailable, SomaError, UsageError
from soma_cli.core.ports import IndexIdentity, IndexQuery

PanicException = type("PanicException", (BaseException,), {})


@pytest.mark.parametrize("kind", [RuntimeError, PanicException])
def test_a_failure_of_the_data_is_damage(kind: type[BaseException]) -> None:
    with pytest.raises(DataFolderError, match="not usable: unwrap on None") as caught, engine_errors(Path("i")):
        raise kind("unwrap on None\nbacktrace")
    assert caught.value.code == "index_corrupt"


@pytest.mark.parametrize("kind", [RuntimeError, PanicException])
def test_a_failure_of_a_query_is_not_called_damage(kind: type[BaseException]) -> None:
    with pytest.raises(SomaError) as caught, engine_errors(Path("i"), query=True):
        raise kind("unwrap on None\nbacktrace")
    assert (caught.value.code, caught.value.exit_code) == ("index_query", 1)
    assert "failed on this query: unwrap on None" in caught.value.message


def test_what_the_system_is_to_blame_for_is_told_in_a_query_too() -> None:
    with pytest.raises(ServiceUnavailable), engine_errors(Path("i"), query=True):
        raise RuntimeError("WouldBlock")


@pytest.mark.parametrize("importance", [float("nan"), float("inf"), float("-inf")])
def test_an_importance_that_would_make_the_engine_panic_never_reaches_it(importance: float) -> None:
    query = IndexQuery("x", None, None, 10, "lexical", importance_min=importance)
    with pytest.raises(UsageError, match="finite"):
        query_request(query, "english", IndexIdentity(None, None))
