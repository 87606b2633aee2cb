"""The fixture of the tests of the Connect path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster_connect.installation import Landed
from tests.services import connect_url, kafka_address, postgres_dsn


@pytest.fixture
def landed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Landed]:
    """An installation of the test's own on the servers that the run shares, after `soma init` and `connect apply`."""
    monkeypatch.chdir(tmp_path)
    with Landed(tmp_path, kafka_address(), postgres_dsn(), connect_url()) as made:
        made.apply()
        yield made
