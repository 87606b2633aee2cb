"""What is wrong on the command line or in the settings is told before any server is waited for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, SomaError, UsageError
from soma_cli.core.settings import ConnectSettings, LogSettings, Settings, StoreSettings
from soma_cli.core.system import MemorySystem
from tests.services.ports import free_port


@pytest.fixture
def settings() -> Settings:
    """Brokers, store and Connect are all away."""
    port = free_port()
    return Settings(
        log=LogSettings(kind="kafka", bootstrap_servers=f"127.0.0.1:{port}"),
        store=StoreSettings(kind="postgres", dsn=f"postgresql://u@127.0.0.1:{port}/d"),
        connect=ConnectSettings(url=f"http://127.0.0.1:{port}"),
    )


def refusal(settings: Settings, file: Path | None = None) -> SomaError:
    with MemorySystem(settings) as system, pytest.raises(SomaError) as raised:
        system.admin.connect.apply(file, execute=False)
    return raised.value


def test_a_file_that_is_none(settings: Settings, tmp_path: Path) -> None:
    assert isinstance(refusal(settings, tmp_path / "none.json"), UsageError)


def test_settings_that_are_missing_or_of_another_installation(settings: Settings) -> None:
    error = refusal(replace(settings, connect=ConnectSettings()))
    assert (isinstance(error, ConfigurationError), "connect.url" in error.message) == (True, True)
    error = refusal(replace(settings, log=LogSettings(), store=StoreSettings()))
    assert "nothing lands here" in error.message
    error = refusal(replace(settings, store=StoreSettings(kind="postgres", dsn="host=/run dbname=d")))
    assert "store.dsn" in error.message


def test_connect_is_the_first_server_that_is_asked(settings: Settings) -> None:
    error = refusal(settings)
    assert (type(error), error.code) == (ServiceUnavailable, "connect_unavailable")
