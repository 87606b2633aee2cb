"""The fixture of the tests of the Connect path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster_connect.installation import Landed
from tests.services import connect_url, kafka_address, postgres_dsn


@pytest.fixture
def unapplied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Landed]:
    """An installation of the test's own on the servers that the run shares, after `soma init`, without a connector."""
    monkeypatch.chdir(tmp_path)
    with Landed(tmp_path, kafka_address(), postgres_dsn(), connect_url()) as made:
        yield made


@pytest.fixture
def landed(unapplied: Landed) -> Landed:
    """The same after `connect apply`."""
    unapplied.apply()
    return unapplied
