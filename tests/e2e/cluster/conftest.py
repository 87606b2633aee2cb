"""The fixture of the tests of workers on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster.installation import Cluster
from tests.services import kafka_address, postgres_dsn, redis_url


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """An installation of the test's own on the servers that the run shares, after `soma init`."""
    monkeypatch.chdir(tmp_path)
    with Cluster(tmp_path, kafka_address(), postgres_dsn(), redis_url()) as made:
        yield made
