"""Rebuilds on Qdrant beside workers, searches and other rebuilds, and what dead ones leave behind."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest
from qdrant_client import models
from qdrant_client.http.exceptions import ResponseHandlingException

from soma_cli.core.adapters.vector_index import qdrant_shadow
from soma_cli.core.adapters.vector_index.qdrant import QdrantIndex
from soma_cli.core.adapters.vector_index.qdrant_collection import QdrantCollection
from soma_cli.core.adapters.vector_index.qdrant_reserved import ABOUT
from soma_cli.core.adapters.vector_index.qdrant_server import QdrantServer
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.ports import IndexIdentity, IndexPoint
from soma_cli.core.settings import IndexSettings
from tests.contracts.events import uid
from tests.contracts.points import TOPIC, UNSETTLED, fill, first_partition, found, point
from tests.contracts.qdrant_indexes import InMemory, collections, in_memory, live
from tests.contracts.qdrant_indexes import client as client
from tests.contracts.qdrant_indexes import index as index

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


def test_a_batch_checked_against_the_old_collection_is_never_written_to_the_new(
    index: QdrantIndex, client: InMemory
) -> None:
    worker = in_memory(client)()
    fill(worker, point(1, 1, "x"), position=100)
    shadow = index.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "x"), position=95)
    assert worker.positions(TOPIC) == {0: 100}
    shadow.swap(lambda: None)
    with pytest.raises(ServiceUnavailable) as replaced:
        worker.write([point(2, 105, "x")], TOPIC, {0: 110})
    assert replaced.value.code == "index_replaced"
    assert worker.positions(TOPIC) == {0: 95}, "95 to 99 would never be indexed"
    worker.write([point(2, 105, "x")], TOPIC, {0: 110})
    assert index.versions([uid(1), uid(2)]) == {uid(1): 1, uid(2): 105}


def test_a_batch_that_the_old_collection_refuses_is_tried_in_the_new(index: QdrantIndex, client: InMemory) -> None:
    worker = in_memory(client)()
    worker.adopt(IndexIdentity("m", 2))
    worker.positions(TOPIC)
    shadow = index.shadow(IndexIdentity("m2", 3))
    name = live(client)
    shadow.swap(lambda: None)
    assert name not in collections(client)
    with pytest.raises(ServiceUnavailable):
        worker.write([point(1, 1, "x", [1.0, 0.0, 0.0])], TOPIC, {0: 2})
    worker.write([point(1, 1, "x", [1.0, 0.0, 0.0])], TOPIC, {0: 2})
    assert found(worker, embedding=[1.0, 0.0, 0.0]) == [uid(1)]


def test_a_scan_of_a_collection_that_is_replaced_says_so(index: QdrantIndex) -> None:
    fill(index, *[point(n, n, "x") for n in range(1500)])
    scan = index.scan()
    next(scan)
    index.shadow(UNSETTLED).swap(lambda: None)
    with pytest.raises(ServiceUnavailable, match="replaced"):
        list(scan)


def test_searches_go_on_while_collections_are_swapped(index: QdrantIndex, client: InMemory) -> None:
    fill(index, point(1, 1, "word"))
    reader, wrong, done = in_memory(client)(), [], threading.Event()

    def search() -> None:
        while not done.is_set():
            if (ids := found(reader, "word")) != [uid(1)]:
                wrong.append(ids)

    thread = threading.Thread(target=search)
    thread.start()
    for _ in range(20):
        shadow = index.shadow(UNSETTLED)
        fill(shadow, point(1, 1, "word"))
        shadow.swap(lambda: None)
    done.set()
    thread.join()
    assert wrong == []
    assert len(collections(client)) == 1


class LosesAnswers(InMemory):
    """The answer to a switch of aliases is lost on the way."""

    def update_collection_aliases(self, *args: Any, **options: Any) -> bool:
        super().update_collection_aliases(*args, **options)
        raise ResponseHandlingException(httpx.ReadTimeout("lost"))


def test_a_switch_of_unknown_outcome_deletes_nothing(index: QdrantIndex, client: InMemory) -> None:
    fill(index, point(1, 1, "old word"))
    forgetful = LosesAnswers()
    forgetful._client = client._client
    shadow = QdrantIndex(IndexSettings(kind="qdrant"), client=forgetful).shadow(UNSETTLED)
    fill(shadow, point(2, 2, "new word"))
    with pytest.raises(ServiceUnavailable):
        shadow.swap(lambda: None)
    shadow.discard()
    assert found(index, "word") == [uid(2)]


def make_stale(client: InMemory, name: str) -> None:
    client.set_payload(name, {"alive_at": 0.0}, points=[ABOUT])
    client.update_collection(name, metadata={"soma_made_at": 0.0})


def test_a_shadow_deletes_what_dead_rebuilds_left_and_nothing_else(index: QdrantIndex, client: InMemory) -> None:
    def begun() -> str:
        before = collections(client)
        index.shadow(UNSETTLED)
        return (collections(client) - before).pop()

    dead, nameless, running, kept = begun(), begun(), begun(), begun()
    for name in (dead, nameless, kept, live(client)):
        make_stale(client, name)
    client.delete(nameless, [ABOUT])
    make = models.CreateAlias(collection_name=kept, alias_name="somebody-s")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=make)])
    other = in_memory(client, collection="memories-2")()
    foreign = {"memories-of-others"}
    client.create_collection("memories-of-others", vectors_config={})
    others = {other.stats()["collection"]}
    leftovers = [finding for finding in index.health() if finding.check == "leftovers"]
    assert all(name in leftovers[0].message for name in (dead, nameless))
    assert running not in leftovers[0].message
    shadow = index.shadow(UNSETTLED)
    mine = collections(client) - {running, kept, live(client)} - foreign - others
    assert len(mine) == 1
    assert not {dead, nameless} & collections(client)
    shadow.discard()
    assert collections(client) == {running, kept, live(client)} | foreign | others


def test_a_running_rebuild_says_so(client: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_shadow, "BEAT_S", 0.01)
    index = in_memory(client)()
    before = collections(client)
    shadow = index.shadow(UNSETTLED)
    made = QdrantCollection(QdrantServer(IndexSettings(kind="qdrant"), client), (collections(client) - before).pop())
    begun = made.about().alive_at
    deadline = time.monotonic() + 30
    while made.about().alive_at == begun:
        assert time.monotonic() < deadline, "it never said so"
    shadow.discard()
    assert collections(client) == before


def test_two_rebuilds_at_once_end_with_one_collection(index: QdrantIndex, client: InMemory) -> None:
    first, second = index.shadow(UNSETTLED), index.shadow(UNSETTLED)
    fill(first, point(1, 1, "word"), position=1)
    fill(second, point(2, 2, "word"), position=2)
    first.swap(lambda: None)
    second.swap(lambda: None)
    assert found(index, "word") == [uid(2)]
    assert index.positions(TOPIC) == {0: 2}
    assert collections(client) == {live(client)}


def test_where_there_is_no_collection_all_is_missing(client: InMemory) -> None:
    index = QdrantIndex(IndexSettings(kind="qdrant"), client=client)
    shadow = index.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "word"))
    assert shadow.compare(first_partition).examples == {"missing": [uid(1)]}
    shadow.swap(lambda: None)
    assert found(index, "word") == [uid(1)]


def test_compare_waits_for_a_worker_between_points_and_position(
    index: QdrantIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has written version 5 and not yet its position 6; the rebuild has passed 5 by then or not."""
    monkeypatch.setattr(qdrant_shadow, "PATIENCE_S", 60.0)
    shadow = index.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "x"), position=5)
    fill(index, point(1, 1, "x"), position=5)
    between = IndexPoint(uid(1), 5, False, "default", 1.0, 10, 20, "y", None)
    index.write([between], TOPIC, {})
    late = threading.Timer(0.3, lambda: index.write([], TOPIC, {0: 6}))
    late.start()
    assert shadow.compare(first_partition).total == 0
    late.join()
    shadow.discard()
