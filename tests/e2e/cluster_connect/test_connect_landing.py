"""What Kafka Connect lands becomes rows and journal, as `consume kv` makes them."""

from __future__ import annotations

import time

from tests.e2e.cluster_connect.installation import Landed
from tests.e2e.conftest import wait_until


def test_a_row_is_there_within_5_s_of_store(landed: Landed) -> None:
    worker = landed.start("consume", "landing")
    first = landed.json("store", "--text", "Alice prefers window seats")
    _wait_for(landed, first["id"])  # the connector's task has started
    stored_at = time.monotonic()
    second = landed.json("store", "--text", "Bob prefers aisle seats")
    _wait_for(landed, second["id"])
    assert time.monotonic() - stored_at < 5.0
    assert worker.terminated() == 0
    assert landed.json("get", second["id"])["payload"] == {"text": "Bob prefers aisle seats"}


def _wait_for(landed: Landed, id: str) -> None:
    wait_until(lambda: bool(landed.rows(f"SELECT FROM memories WHERE id = '{id}'")), f"the row of {id}")
