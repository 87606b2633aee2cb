"""Each command prints on servers what it prints embedded, of the same events, but for times and positions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from tests.e2e.cluster_servers.projections import ClusterSoma, passed_by_all
from tests.e2e.conftest import Soma
from tests.services import kafka_address, postgres_dsn, redis_url

A, B, C, D = (f"00000000-0000-4000-8000-00000000000{number}" for number in range(1, 5))
EVENT = "99999999-0000-4000-8000-00000000000{}"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
POSITION = re.compile(r"memory\.(events|dlq)/\d+@\d+")
VERSION = re.compile(r"version (is )?\d+")
MADE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
PLACES = {"version", "if_version", "offset", "partition"}


def lines() -> bytes:
    events: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
        (A, "created", {"text": "Alice likes the window seat"}, {"importance": 2.0}),
        (B, "created", {"text": "Bob prefers the aisle"}, {"namespace": "travel"}),
        (C, "created", {"text": "the window was repainted"}, {"importance": 0.5}),
        (A, "updated", {"text": "Alice likes the aisle seat now"}, {"importance": 2.0}),
        (B, "deleted", {}, {"namespace": "travel", "reason": {"kind": "asked"}, "actor": "Bob"}),
        (B, "updated", {"text": "too late"}, {"namespace": "travel"}),
        (C, "updated", {"text": "not met"}, {"if_version": -1}),
        (D, "created", {"title": "a window without text", "n": 1.5}, {"importance": 3.0, "model_revision": "m1"}),
    ]
    made = [
        {"event_id": EVENT.format(number), "id": id, "type": kind, "payload": payload,
         "timestamp": "2026-01-02T03:04:05Z", **more}
        for number, (id, kind, payload, more) in enumerate(events)
    ]  # fmt: skip
    return b"".join(json.dumps(line).encode() + b"\n" for line in made)


def masked(value: Any, key: str = "") -> Any:
    """Without what depends on when and where an event was appended."""
    if isinstance(value, dict):
        return {name: masked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if key in PLACES or key.endswith("_s"):
        return f"<{key}>"
    if isinstance(value, str):
        for pattern in (TIME, POSITION, VERSION, MADE_ID):
            value = pattern.sub("<>", value)
        return value
    return round(value, 1) if isinstance(value, float) else value


def by_id(rows: Any) -> Any:
    return sorted(rows, key=json.dumps)


class Pair:
    """The same events in both profiles."""

    def __init__(self, embedded: Soma, cluster: ClusterSoma) -> None:
        self.both: tuple[Soma, Soma] = (embedded, cluster)

    def print_the_same(self, *arguments: str, order: Callable[[Any], Any] = lambda rows: rows, code: int = 0) -> Any:
        shown = []
        for soma in self.both:
            done = soma.inline(*arguments, "-o", "json")
            assert done.returncode == code, f"{soma}: {done.stderr}"
            text = done.stdout if done.stdout.strip() else done.stderr.splitlines()[-1]
            shown.append(order(masked(json.loads(text))))
        assert shown[1] == shown[0]
        return shown[0]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("pair")
    embedded = Soma(folder / "embedded", folder / "output")
    cluster = ClusterSoma(folder / "data", folder / "output", kafka_address(), postgres_dsn(), redis_url())
    assert cluster.inline("init").returncode == 0
    worker = cluster.start("consume", "all")
    with embedded.library() as one, cluster.system() as other:
        for system in (one, other):
            assert system.produce(lines().splitlines()).appended == 8
            system.adapters.log.append([NewRecord(EVENTS_TOPIC, A.encode(), b"no JSON", (("trace", b"1"),))])
        passed_by_all(cluster, other, worker)
    yield Pair(embedded, cluster)
    assert worker.terminated() == 0
    cluster.kill_all()


def test_get(pair: Pair) -> None:
    # The first read counts as an access, whose time the second one shows.
    for id in (A, D, A):
        pair.print_the_same("get", id)
    assert pair.print_the_same("get", B, code=6)["error"]["details"]["reason"] == {"kind": "asked"}
    pair.print_the_same("get", "00000000-0000-4000-8000-000000000009", code=6)


def test_get_at(pair: Pair) -> None:
    """A time before there was anything, and after everything; and a position that each names by itself."""
    pair.print_the_same("get", A, "--at", "2020-01-01T00:00:00Z", code=6)
    assert pair.print_the_same("get", A, "--at", "2999-01-01")["payload"] == {"text": "Alice likes the aisle seat now"}
    for soma in pair.both:
        first = soma.json("history", A)[0]["position"]
        assert soma.json("get", A, "--at", first)["payload"] == {"text": "Alice likes the window seat"}


def test_history(pair: Pair) -> None:
    for id in (A, B, C, D):
        pair.print_the_same("history", id)


def test_list(pair: Pair) -> None:
    pair.print_the_same("list", order=by_id)
    pair.print_the_same("list", "--namespace", "travel")
    pair.print_the_same("list", "--namespace", "default", "--limit", "50", order=by_id)


def test_search(pair: Pair) -> None:
    assert len(pair.print_the_same("search", "window")) == 2
    pair.print_the_same("search", "aisle seat", "--mode", "lexical", "--limit", "1")
    assert len(pair.print_the_same("search", "window", "--min-importance", "2.5")) == 1
    assert pair.print_the_same("search", "window", "--namespace", "travel") == []
    assert pair.print_the_same("search", "window", "--to", "2020-01-01") == []
    assert len(pair.print_the_same("search", "window", "--from", "2020-01-01")) == 2


def test_trace(pair: Pair) -> None:
    """The cluster's has what the embedded one has; and where the event is in audit and latest besides."""
    for number in (0, 5, 6, 7):
        shown = [masked(soma.json("trace", EVENT.format(number))) for soma in pair.both]
        assert {name: shown[1].get(name) for name in shown[0]}.keys() == shown[0].keys()
        assert shown[1]["event_id"] == shown[0]["event_id"]


def test_wait(pair: Pair) -> None:
    for soma in pair.both:
        entries = soma.json("history", B)
        results = [soma.json("wait", entry["position"]) for entry in entries]
        assert [result["outcomes"]["kv"] for result in results] == ["applied", "applied", "ignored"]


def test_score(pair: Pair) -> None:
    pair.print_the_same("score", C, "--now", "2030-01-01T00:00:00Z")
    pair.print_the_same("score", D, "--now", "2030-01-01T00:00:00Z", "--policy", "retain")
    pair.print_the_same("score", B, code=6)


def test_dlq(pair: Pair) -> None:
    (letter,) = pair.print_the_same("dlq", "list")
    assert letter["code"] == "not_json"
    for soma in pair.both:
        (letter,) = soma.json("dlq", "list")
        assert soma.json("dlq", "show", letter["source"]) == letter
    pair.print_the_same("dlq", "retry", "--all", "--execute", "--yes", code=5)


def test_prune_and_what_is_left(pair: Pair) -> None:
    """Last, since it deletes: what was planned is what is gone."""
    options = ("--now", "2030-01-01T00:00:00Z", "--threshold", "2", "--namespace", "default")
    planned = pair.print_the_same("prune", *options, order=_by_selected)
    assert {item["id"] for item in planned["selected"]} == {A, C, D}
    done = pair.print_the_same("prune", *options, "--execute", "--yes", order=_by_selected)
    assert (done["executed"], done["appended"]) == (True, 3)
    assert pair.print_the_same("list") == []
    assert [entry["outcome"] for entry in pair.print_the_same("history", C)] == ["applied", "ignored", "applied"]


def _by_selected(plan: Any) -> Any:
    return {**plan, "selected": by_id(plan["selected"])}
