"""Making Qdrant's collection and its alias: once, of one language and model, and what is in the way."""

from __future__ import annotations

import threading

import pytest
from qdrant_client import models

from soma_cli.core.adapters.vector_index.qdrant import QdrantIndex
from soma_cli.core.adapters.vector_index.qdrant_reserved import ABOUT
from soma_cli.core.errors import ConfigurationError
from soma_cli.core.ports import IndexIdentity
from soma_cli.core.settings import IndexSettings
from tests.contracts.events import uid
from tests.contracts.points import TOPIC, UNSETTLED, fill, found, point
from tests.contracts.qdrant_indexes import InMemory, collections, in_memory, live, uses
from tests.contracts.qdrant_indexes import client as client

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


@pytest.fixture
def index(client: InMemory) -> QdrantIndex:
    return in_memory(client)()


def test_provision_makes_what_is_missing_once(client: InMemory) -> None:
    index = QdrantIndex(IndexSettings(kind="qdrant"), identity=IndexIdentity("model/a@1", 3), client=client)
    for use in uses(index)[:-2]:
        with pytest.raises(ConfigurationError, match="no collection memories") as missing:
            use()
        assert (missing.value.code, "soma init" in missing.value.hint) == ("index_missing", True)
    made = index.provision()
    name = live(client)
    assert name.startswith("memories-model-a-1-")
    assert (made.created, made.existing, made.differing) == ([name, "alias memories"], [], [])
    again = index.provision()
    assert (again.existing, again.differing) == ([name], [])
    assert index.identity() == IndexIdentity("model/a@1", 3)
    assert collections(client) == {name}
    vectors = client.get_collection(name).config.params.vectors
    assert isinstance(vectors, dict)
    assert (vectors["dense"].size, vectors["dense"].distance) == (3, models.Distance.COSINE)


def test_several_that_provision_at_once_end_with_one_live_collection(client: InMemory) -> None:
    opened = [QdrantIndex(IndexSettings(kind="qdrant"), client=client) for _ in range(6)]
    threads = [threading.Thread(target=index.provision) for index in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, index in enumerate(opened):
        index.write([point(n, n, "word")], TOPIC, {n: 1})
    assert len(found(opened[0], "word")) == 6
    assert opened[0].positions(TOPIC) == dict.fromkeys(range(6), 1)


def test_a_snapshot_restored_by_another_name_is_mended_by_init(index: QdrantIndex, client: InMemory) -> None:
    fill(index, point(1, 1, "word"), position=3)
    client.set_payload("memories", {"collection": "memories-before"}, points=[ABOUT])
    with pytest.raises(ConfigurationError) as missing:
        found(index, "word")
    assert "soma init" in missing.value.hint
    index.provision()
    assert found(index, "word") == [uid(1)]
    assert index.positions(TOPIC) == {0: 3}


def test_what_differs_from_the_settings_is_told_and_kept(client: InMemory) -> None:
    in_memory(client)(IndexIdentity("a@1", 3))
    other = in_memory(client, language="german")(IndexIdentity("b@1", 4))
    differing = other.provision().differing
    assert [finding.check for finding in differing] == ["index.model_revision", "index.dimension", "index.language"]
    assert all("soma replay --into vector --execute" in finding.hint for finding in differing)
    assert [finding for finding in other.health() if finding in differing] == differing
    assert other.identity() == IndexIdentity("a@1", 3)


def test_a_collection_in_the_alias_s_place_is_told(client: InMemory) -> None:
    client.create_collection("memories", vectors_config={})
    index = QdrantIndex(IndexSettings(kind="qdrant"), client=client)
    with pytest.raises(ConfigurationError, match="is a collection"):
        index.provision()
    with pytest.raises(ConfigurationError, match="not one that"):
        index.positions(TOPIC)


def test_a_language_nobody_knows_makes_no_collection(client: InMemory) -> None:
    with pytest.raises(ConfigurationError, match="klingon"):
        in_memory(client, language="klingon")()
    assert collections(client) == set()


def test_a_collection_keeps_its_language_until_it_is_rebuilt(client: InMemory) -> None:
    fill(in_memory(client)(), point(1, 1, "seats"))
    german = in_memory(client, language="german")()
    assert found(german, "seating") == [uid(1)]
    shadow = german.shadow(UNSETTLED)
    fill(shadow, point(1, 1, "Häuser"))
    shadow.swap(lambda: None)
    assert found(german, "Haus") == [uid(1)]
    assert german.stats()["language"] == "german"


def test_health_looks_at_everything(index: QdrantIndex, client: InMemory) -> None:
    fill(index, point(1, 1, "x"))
    findings = {finding.check: finding for finding in index.health(deep=True)}
    assert findings["index"].status == "ok"
    assert live(client) in findings["index"].message
    assert "read 1" in findings["index"].message
    assert "(green)" in findings["index"].message
    # The in-memory engine has no payload indexes, so that this is what health says where they are missing.
    assert "soma init" in findings["index fields"].hint
    assert "leftovers" not in findings
