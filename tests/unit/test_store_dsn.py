"""A password that was not escaped is never shown as part of an address."""

from __future__ import annotations

import pytest

from soma_cli.core.adapters.memory_store.postgres_connections import Connections
from soma_cli.core.errors import ConfigurationError
from soma_cli.core.settings import StoreSettings


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://soma:p/ssSECRET@db:5432/soma",
        "postgresql://soma:12/SECRET@db:5432/soma",
        "postgresql://soma:p@SECRET@db:5432/soma",
        "postgresql://soma:p:q@SECRET:x@db/soma",
    ],
)
def test_a_password_taken_for_an_address_is_not_shown(dsn: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Connections(StoreSettings(kind="postgres", dsn=dsn), 1)
    assert "SECRET" not in f"{refused.value.message}{refused.value.hint}{refused.value.details}"


@pytest.mark.parametrize(
    ("dsn", "where"),
    [
        ("postgresql://soma:p%2Fq%40r@db:5432/soma", "db:5432/soma"),
        ("host=a,b port=5432,5433 dbname=soma", "a,b:5432,5433/soma"),
        ("postgresql:///soma?host=/run/postgresql", "/run/postgresql:5432/soma"),
        ("host=@abstract dbname=soma", "@abstract:5432/soma"),
    ],
)
def test_addresses_that_are_ones_are_told(dsn: str, where: str) -> None:
    assert Connections(StoreSettings(kind="postgres", dsn=dsn), 1).where == where
