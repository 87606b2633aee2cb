"""What the tests of faults at the command line share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster_cli.faults import Installation
from tests.services import kafka_address, postgres_dsn


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SOMA_") and not name.startswith("SOMA_TEST_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation on the shared servers, after `soma init`, for all tests of a file: none changes it."""
    soma = Installation(tmp_path_factory.mktemp("made"), kafka_address(), postgres_dsn())
    done = soma.inline("init")
    assert done.returncode == 0, done.stderr
    yield soma
    soma.kill_all()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Installation]:
    """An installation of the test's own on the shared servers, after `soma init`."""
    soma = Installation(tmp_path, kafka_address(), postgres_dsn())
    done = soma.inline("init")
    assert done.returncode == 0, done.stderr
    yield soma
    soma.kill_all()
