"""The machine that the figures are of."""

from __future__ import annotations

import os
import platform
import sqlite3
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from soma_cli import __version__


@dataclass(slots=True)
class Machine:
    """`load_1m` is the load average when the run began: well above zero, others were at work too."""

    cpu: str
    cores: int
    memory_gb: float | None
    system: str
    python: str
    sqlite: str
    orjson: str
    jsonschema_rs: str
    qdrant_edge: str
    soma: str
    load_1m: float | None


def this_machine() -> Machine:
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gb=_memory_gb(),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        sqlite=sqlite3.sqlite_version,
        orjson=version("orjson"),
        jsonschema_rs=version("jsonschema-rs"),
        qdrant_edge=version("qdrant-edge-py"),
        soma=__version__,
        load_1m=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None
