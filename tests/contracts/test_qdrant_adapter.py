"""What the adapter for Qdrant adds to the port's promises: kinds of failure, rebuilds beside workers, leftovers.

The small HTTP servers here stand for what else may answer at the address; none plays Qdrant's part.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from qdrant_client import models
from qdrant_client.http.exceptions import ResponseHandlingException

from soma_cli.core.adapters.vector_index import qdrant_guard, qdrant_shadow
from soma_cli.core.adapters.vector_index.qdrant import QdrantIndex
from soma_cli.core.adapters.vector_index.qdrant_collection import QdrantCollection
from soma_cli.core.adapters.vector_index.qdrant_reserved import ABOUT, reserved_id
from soma_cli.core.adapters.vector_index.qdrant_server import QdrantServer, check_applied
from soma_cli.core.errors import ConfigurationError, OutOfSpace, ServiceUnavailable, SomaError, ValueRefused
from soma_cli.core.ports import IndexIdentity, IndexPoint, IndexQuery
from soma_cli.core.settings import IndexSettings
from tests.contracts.qdrant_indexes import UNSETTLED, InMemory, in_memory
from tests.contracts.test_vector_index import TOPIC, fill, first_partition, found, point, uid

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


@pytest.fixture
def client() -> InMemory:
    return InMemory()


@pytest.fixture
def index(client: InMemory) -> QdrantIndex:
    return in_memory(client)()


def collections(client: InMemory) -> set[str]:
    return {each.name for each in client.get_collections().collections}


def live(client: InMemory) -> str:
    return {each.alias_name: each.collection_name for each in client.get_aliases().aliases}["memories"]


# --- kinds of failure --------------------------------------------------------------------------------------------


def index_at(url: str | None, **settings: Any) -> QdrantIndex:
    return QdrantIndex(IndexSettings(kind="qdrant", url=url, **({"timeout_s": 1.0} | settings)))


@contextmanager
def answering(status: int, body: bytes, version: str | None = None, kind: str = "application/json") -> Iterator[str]:
    """The address of a server that answers everything alike, but what it is where a version is given."""
    about = json.dumps({"title": "qdrant - vector search engine", "version": version}).encode()

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = version is not None and self.path == "/"
            content = about if known else body
            self.send_response(200 if known else status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def uses(index: QdrantIndex) -> list[Any]:
    return [
        lambda: index.positions(TOPIC),
        lambda: index.identity(),
        lambda: index.adopt(IndexIdentity("m", 2)),
        lambda: index.write([point(1, 1, "x")], TOPIC, {0: 1}),
        lambda: index.search(IndexQuery("lexical", 3, "x")),
        lambda: index.versions([uid(1)]),
        lambda: list(index.scan()),
        lambda: index.count(),
        lambda: index.stats(),
        lambda: index.health(),
        lambda: index.shadow(UNSETTLED),
        lambda: index.provision(),
    ]


def test_a_closed_port_is_a_service_that_is_away() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    for use in uses(index_at(f"http://127.0.0.1:{port}")):
        with pytest.raises(ServiceUnavailable) as away:
            use()
        assert f"127.0.0.1:{port}" in away.value.message
        assert "index.url" in away.value.hint


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        index = index_at(f"http://127.0.0.1:{listening.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="did not answer in time"):
            index.positions(TOPIC)
        assert time.monotonic() - begun < 3


def error(said: str) -> bytes:
    return json.dumps({"status": {"error": said}, "time": 0.0}).encode()


HTML = b"<html><body>nginx</body></html>"
ANSWERS: list[tuple[int, bytes, type[SomaError], str]] = [
    (401, b"Must provide an API key or an Authorization bearer token", ConfigurationError, "index.api_key"),
    (403, error("Forbidden: Write access to collection required"), ConfigurationError, "index.api_key"),
    (500, error("Service internal error: task panicked"), ServiceUnavailable, "task panicked"),
    (503, error("Service unavailable"), ServiceUnavailable, "503"),
    (502, HTML, ServiceUnavailable, "502"),
    (504, HTML, ServiceUnavailable, "index.url"),
    (429, error("Rate limiting exceeded"), ServiceUnavailable, "Rate limiting"),
    (500, error("Service internal error: No space left on device"), OutOfSpace, "no space left"),
    (404, error("Not found: Collection `memories` doesn't exist!"), ConfigurationError, "run `soma init`"),
    (404, HTML, ConfigurationError, "not Qdrant"),
    (200, HTML, ConfigurationError, "not Qdrant"),
    (200, b'{"result": {"unknown": 1}}', ConfigurationError, "not Qdrant"),
    (413, HTML, ConfigurationError, "32 MB"),
    (400, error("Wrong input: what is this"), SomaError, "what is this"),
]


@pytest.mark.parametrize(("status", "body", "kind", "said"), ANSWERS)
def test_answers_that_are_errors(status: int, body: bytes, kind: type[SomaError], said: str) -> None:
    with answering(status, body, "1.18.0") as url:
        for use in uses(index_at(url)):
            with pytest.raises(kind) as told:
                use()
            assert type(told.value) is kind
            assert said in f"{told.value.message} {told.value.hint}"
            assert "sesame" not in f"{told.value.message} {told.value.hint}"


@pytest.mark.parametrize("status", [200, 301, 404])
def test_something_else_at_the_address_is_told(status: int) -> None:
    with answering(status, HTML, kind="text/html") as url:
        with pytest.raises(ConfigurationError, match="is not Qdrant") as told:
            index_at(url).positions(TOPIC)
        assert "index.url" in told.value.hint


def test_a_server_that_is_too_old_is_told() -> None:
    """It would pass over the conditions of upserts without a word."""
    with answering(500, b"", "1.15.4") as url, pytest.raises(ConfigurationError, match=r"1\.15\.4; soma needs 1\.18"):
        index_at(url).positions(TOPIC)


@pytest.mark.parametrize("url", [None, "ftp://somewhere:1", "http://[::1"])
def test_an_address_that_leads_nowhere_is_a_configuration_error(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"index\.url"):
        index_at(url).positions(TOPIC)


def test_neither_key_nor_password_is_told(client: InMemory) -> None:
    index = in_memory(client, url="http://someone:sesame@qdrant.example:6333/path?key=sesame", api_key="sesame")()
    assert index.stats()["where"] == "http://qdrant.example:6333/path"
    findings = index.health()
    assert "sesame" not in repr(findings)
    assert "index key" in {finding.check for finding in findings}
    with answering(401, b"sesame", "1.18.0") as url:
        with pytest.raises(ConfigurationError) as refused:
            index_at(url, api_key="sesame").positions(TOPIC)
        assert "sesame" not in f"{refused.value.message} {refused.value.hint}"


def test_a_write_that_was_taken_and_not_applied_is_to_be_sent_again() -> None:
    check_applied([models.UpdateResult(status=models.UpdateStatus.COMPLETED)])
    for status in (models.UpdateStatus.ACKNOWLEDGED, models.UpdateStatus.WAIT_TIMEOUT):
        with pytest.raises(ServiceUnavailable):
            check_applied([models.UpdateResult(status=status)])


# --- making it ---------------------------------------------------------------------------------------------------


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


# --- points ------------------------------------------------------------------------------------------------------


def test_reserved_points_are_nobody_s_memories(index: QdrantIndex) -> None:
    fill(index, point(1, 1, "x"), position=7)
    own = [ABOUT, reserved_id(f"position {TOPIC} 0")]
    assert index.versions([*own, uid(1)]) == {uid(1): 1}
    for id in own:
        with pytest.raises(ValueRefused):
            index.write([point(2, 2, "x")._replace(id=id)], TOPIC, {0: 9})
    assert index.positions(TOPIC) == {0: 7}
    assert index.count() == 1
    assert [each.id for each in index.scan()] == [uid(1)]


def test_many_partitions_have_their_positions(index: QdrantIndex) -> None:
    positions = {partition: partition * 10 for partition in range(1100)}
    index.write([], TOPIC, positions)
    index.write([], TOPIC, dict.fromkeys(range(1100), 5000))
    index.write([], "topic-2", {0: 1})
    assert index.positions(TOPIC) == {partition: max(5000, at) for partition, at in positions.items()}


def test_requests_are_bounded_in_bytes() -> None:
    def large(n: int) -> models.PointStruct:
        vectors: dict[str, Any] = {
            "dense": [-1.2345678901234567e-05] * 4096,
            "bm25": models.SparseVector(indices=[4294967295 - at for at in range(20000)], values=[1.2345678] * 20000),
        }
        return models.PointStruct(id=uid(n), vector=vectors, payload={"version": n, "namespace": "n" * 200})

    points = [large(n) for n in range(60)]
    requests = list(qdrant_guard.requests(points))
    assert [each.id for each in itertools.chain(*requests)] == [each.id for each in points]
    assert len(requests) > 3
    for request in requests:
        operation = models.PointsList(points=request, update_filter=qdrant_guard.not_newer(request, "version"))
        assert len(operation.model_dump_json()) < qdrant_guard.REQUEST_BYTES


class LosesWrites(InMemory):
    """The first write of memories is lost on the way."""

    lost = 1

    def batch_update_points(self, name: str, operations: Any, **options: Any) -> list[models.UpdateResult]:
        if self.lost and "version" in operations[0].upsert.points[0].payload:
            self.lost -= 1
            raise ResponseHandlingException(httpx.ConnectError("connection reset"))
        return super().batch_update_points(name, operations, **options)


def test_a_position_never_runs_ahead_of_points_that_were_lost() -> None:
    index = in_memory(LosesWrites())()
    with pytest.raises(ServiceUnavailable, match="connection reset"):
        fill(index, point(1, 1, "x"), position=9)
    assert (index.positions(TOPIC), index.versions([uid(1)])) == ({}, {})
    fill(index, point(1, 1, "x"), position=9)
    assert (index.positions(TOPIC), index.versions([uid(1)])) == ({0: 9}, {uid(1): 1})


def test_writers_at_once_leave_the_newest(index: QdrantIndex) -> None:
    """Each writes every version of every memory in an order of its own."""
    orders = [range(20), range(19, -1, -1), [*range(10, 20), *range(10)]]

    def work(order: Sequence[int]) -> None:
        for version in order:
            index.write([point(n, version, f"text{version}") for n in range(10)], TOPIC, {0: version})

    threads = [threading.Thread(target=work, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert index.versions([uid(n) for n in range(10)]) == {uid(n): 19 for n in range(10)}
    assert len(found(index, "text19")) == 10
    assert index.positions(TOPIC) == {0: 19}


def test_the_server_s_own_code_takes_the_guard_the_same_way(tmp_path: Path) -> None:
    """qdrant-edge is built from it; the condition is the one of qdrant_guard in its words."""
    from qdrant_edge import (
        EdgeConfig,
        EdgeShard,
        EdgeSparseVectorParams,
        FieldCondition,
        Filter,
        HasIdCondition,
        Point,
        RangeFloat,
        UpdateOperation,
    )

    def edge_filter(given: models.Filter) -> Filter:
        branches: list[Any] = []
        assert isinstance(given.should, list)
        for branch in given.should:
            assert isinstance(branch, models.Filter)
            assert isinstance(branch.must, list)
            has_id, bound = branch.must
            assert isinstance(has_id, models.HasIdCondition)
            assert isinstance(bound, models.FieldCondition)
            assert isinstance(bound.range, models.Range)
            must: list[Any] = [
                HasIdCondition({str(id) for id in has_id.has_id}),
                FieldCondition(bound.key, range=RangeFloat(lte=bound.range.lte)),
            ]
            branches.append(Filter(must=must))
        return Filter(should=branches)

    shard = EdgeShard.create(str(tmp_path), EdgeConfig(sparse_vectors={"bm25": EdgeSparseVectorParams()}))

    def write(versions: dict[int, int], text: str) -> None:
        points = [models.PointStruct(id=uid(n), vector={}, payload={"version": v}) for n, v in versions.items()]
        guard = edge_filter(qdrant_guard.not_newer(points, "version"))
        made = [Point(uid(n), {}, {"version": v, "text": text}) for n, v in versions.items()]
        shard.update(UpdateOperation.upsert_points(made, condition=guard))

    high = 4095 * 2**40 + 17
    write({1: 5, 2: 5, 3: high}, "first")
    write({1: 4, 2: 5, 3: high - 1, 4: 1}, "second")
    write({4: 2}, "third")
    records = shard.retrieve([uid(n) for n in range(1, 5)], True, False)
    held = {str(each.id): (each.payload["version"], each.payload["text"]) for each in records if each.payload}
    expected = {1: (5, "first"), 2: (5, "second"), 3: (high, "first"), 4: (2, "third")}
    assert held == {uid(n): each for n, each in expected.items()}
    shard.close()


class Overtaken(InMemory):
    """Before the next upsert, somebody else has his turn."""

    overtake: Callable[[], None] | None = None

    def upsert(self, *args: Any, **options: Any) -> models.UpdateResult:
        overtake, self.overtake = self.overtake, None
        if overtake is not None:
            overtake()
        return super().upsert(*args, **options)


def test_of_two_that_settle_the_model_at_once_one_is_refused() -> None:
    client = Overtaken()
    slow, quick = in_memory(client)(), in_memory(client)()
    client.overtake = lambda: quick.adopt(IndexIdentity("quick", 3))
    with pytest.raises(ValueRefused):
        slow.adopt(IndexIdentity("slow", 2))
    assert slow.identity() == IndexIdentity("quick", 3)
    vectors = client.get_collection("memories").config.params.vectors
    assert isinstance(vectors, dict)
    assert vectors["dense"].size == 3
    client.overtake = lambda: quick.adopt(IndexIdentity("quick", 3))
    slow.adopt(IndexIdentity("quick", 3))


def test_a_process_that_died_before_it_made_the_dense_vector(client: InMemory) -> None:
    index = in_memory(client)()
    client.set_payload("memories", {"model_revision": "m", "dimension": 2}, points=[ABOUT])
    assert index.identity() == IndexIdentity("m", 2)
    assert found(index, embedding=[1.0, 0.0]) == []
    assert list(index.scan()) == []
    fill(in_memory(client)(), point(1, 1, "x", [1.0, 0.0]))
    assert found(index, embedding=[1.0, 0.0]) == [uid(1)]


# --- rebuilds beside workers -------------------------------------------------------------------------------------


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
    deadline = time.monotonic() + 5
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


def test_compare_waits_for_a_worker_between_points_and_position(index: QdrantIndex) -> None:
    """The worker has written version 5 and not yet its position 6; the rebuild has passed 5 by then or not."""
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
