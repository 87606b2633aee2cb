"""What the metrics port shows: the metrics, whether the workers are alive, whether they could do their work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from soma_cli.core.adapters.metrics.liveness import Liveness
from soma_cli.core.adapters.metrics.readiness import Readiness

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
JSON_TYPE = "application/json"


class Page(NamedTuple):
    status: int
    content_type: str
    body: bytes


class Observed(Protocol):
    @property
    def liveness(self) -> Liveness: ...
    def exposition(self) -> bytes: ...


def pages(observed: Observed, readiness: Readiness) -> Mapping[str, Callable[[], Page]]:
    """The pages by path."""
    return {
        "/metrics": lambda: Page(200, METRICS_TYPE, observed.exposition()),
        "/healthz": lambda: _health(observed.liveness),
        "/readyz": lambda: _ready(observed.liveness, readiness),
    }


def _health(liveness: Liveness) -> Page:
    """200 while every worker goes round; 503 tells which does not. What servers do is no matter here: a worker that
    waits for one is alive, and a restart would not help it."""
    fault = liveness.fault()
    workers = [
        {"worker": one.worker, "state": one.state, "detail": one.detail, "silent_s": round(one.silent_s, 3)}
        for one in liveness.signs()
    ]
    return _answer(not fault, {"reason": fault, "workers": workers})


def _ready(liveness: Liveness, readiness: Readiness) -> Page:
    """200 where the workers are alive and every check passes; 503 tells which does not."""
    fault = liveness.fault()
    checks = [{"name": "workers", "ok": not fault, "message": fault}]
    checks += [{"name": one.name, "ok": one.ok, "message": one.message} for one in readiness.verdicts()]
    return _answer(all(check["ok"] for check in checks), {"checks": checks})


def _answer(ok: bool, details: dict[str, Any]) -> Page:
    # Not soma's own strict JSON: a server's odd words must not fail the page that tells them.
    body = json.dumps({"status": "ok" if ok else "failing", **details})
    return Page(200 if ok else 503, JSON_TYPE, body.encode() + b"\n")
