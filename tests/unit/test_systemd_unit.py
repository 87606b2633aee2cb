"""The systemd unit of the workers: systemd reads it, it gives workers time to drain, its example settings exist."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from soma_cli.core.errors import ConfigurationError, SomaError
from soma_cli.core.settings import WorkerSettings
from soma_cli.core.settings_catalogue import catalogue
from soma_cli.core.settings_loader import load_settings
from tests.composed import ROOT, env_file

UNIT = ROOT / "deploy/systemd/soma-worker@.service"
EXAMPLE = env_file(ROOT / "deploy/systemd/worker.env.example")
TEXT = UNIT.read_text(encoding="utf-8")


def values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", TEXT, re.MULTILINE)


def test_systemd_reads_it(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if not tool:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    unit = tmp_path / "soma-worker@kv.service"
    # It looks for the program, which is installed elsewhere here.
    unit.write_text(TEXT.replace("/opt/soma/bin/soma", str(Path(sys.executable).parent / "soma")), encoding="utf-8")
    done = subprocess.run([tool, "verify", "--man=no", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_worker_has_time_to_drain() -> None:
    assert values("KillSignal") == ["SIGTERM"]
    assert float(values("TimeoutStopSec")[0]) > WorkerSettings().drain_timeout_s


def test_what_no_restart_helps_is_not_restarted() -> None:
    assert values("Restart") == ["on-failure"]
    assert values("RestartPreventExitStatus") == [f"{ConfigurationError.exit_code} 7"]
    assert {error.exit_code for error in SomaError.__subclasses__()} >= {3, 7}
    assert values("StartLimitIntervalSec") == ["0"]


def test_settings_of_the_machine_win_over_those_of_the_unit_and_of_one_worker_over_both() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("Environment")]
    assert [line.partition("=")[0] for line in lines] == ["Environment"] * 2 + ["EnvironmentFile"] * 2
    assert values("EnvironmentFile") == ["/etc/soma/worker.env", "-/etc/soma/%i.env"]


def test_the_example_has_settings_that_there_are(tmp_path: Path) -> None:
    known = {setting.variable for setting in catalogue().values()}
    assert set(EXAMPLE) <= known
    given = {**EXAMPLE, "SOMA_PROFILE": "cluster", "SOMA_DATA_DIR": str(tmp_path)}
    loaded = load_settings(environ=given, cwd=tmp_path).settings
    assert loaded.log.security.protocol == "SASL_SSL"
    assert loaded.log.replication_factor == 3


def test_it_has_no_key_twice_that_is_not_a_list() -> None:
    lists = {"Environment", "EnvironmentFile", "SystemCallFilter"}
    keys = [line.partition("=")[0] for line in TEXT.splitlines() if re.match(r"[A-Z]\w+=", line)]
    assert not [key for key in set(keys) - lists if keys.count(key) > 1]
    assert configparser.RawConfigParser(strict=False, interpolation=None).read(UNIT)
