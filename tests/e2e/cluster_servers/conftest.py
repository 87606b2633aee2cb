"""What the tests on servers share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster_servers.projections import ClusterSoma
from tests.services import kafka_address, postgres_dsn, redis_url


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SOMA_") and not name.startswith("SOMA_TEST_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterSoma]:
    """On the servers that the run shares: topics, tables, index and cache entries of the test's own, made already."""
    soma = ClusterSoma(tmp_path / "data", tmp_path / "output", kafka_address(), postgres_dsn(), redis_url())
    assert soma.inline("init").returncode == 0
    yield soma
    soma.kill_all()
