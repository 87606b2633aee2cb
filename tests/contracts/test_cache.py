"""What a cache promises, on a real Redis: shared for the promises, a test's own where it is stopped or paused."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from soma_cli.core.adapters.cache.redis import MOST_BYTES, MOST_KEYS, RedisCache
from soma_cli.core.errors import ConfigurationError, OutOfSpace, ServiceUnavailable, SomaError
from soma_cli.core.memory import MemoryState
from soma_cli.core.ports import Cache
from soma_cli.core.settings import CacheSettings, WorkerSettings
from tests.contracts.events import uid
from tests.services import RedisServer, redis_url

TIMEOUT_S = 0.3
PAUSE_S = 0.4


def state(memory: int, version: int, **fields: Any) -> MemoryState:
    made = MemoryState(
        id=uid(memory),
        namespace="default",
        payload_json=b'{"text":"version %d"}' % version,
        importance=1.0,
        created_at=1_700_000_000_000_001,
        updated_at=1_700_000_000_000_002 + version,
        version=version,
        last_event_id=uid(1_000_000 + version),
        model_revision=None,
        deleted=False,
    )
    return made._replace(**fields)


def tombstone(memory: int, version: int) -> MemoryState:
    return state(memory, version, payload_json=b"{}", deleted=True)


class Rig:
    """A cache with a prefix of its own, and the bare client beside it."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.prefix = prefix
        self.bare = Redis.from_url(url)
        self._opened: list[RedisCache] = []

    def cache(self, ttl_s: float = 60.0, pause_s: float = PAUSE_S, timeout_s: float = 5.0) -> RedisCache:
        settings = CacheSettings("redis", self.url, ttl_s=ttl_s, prefix=self.prefix, timeout_s=timeout_s)
        self._opened.append(RedisCache(settings, pause_s))
        return self._opened[-1]

    def key(self, memory: int) -> str:
        return self.prefix + uid(memory)

    def close(self) -> None:
        for cache in self._opened:
            cache.close()
        self.bare.close()


@contextmanager
def rig_at(url: str) -> Iterator[Rig]:
    rig = Rig(url, f"test-{uuid4()}:")
    try:
        yield rig
    finally:
        rig.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rig_at(redis_url()) as rig:
        yield rig


@pytest.fixture
def cache(rig: Rig) -> RedisCache:
    return rig.cache()


def only(cache: Cache, memory: int) -> MemoryState | None:
    return cache.get([uid(memory)]).get(uid(memory))


def unavailable(action: Callable[[], object]) -> tuple[SomaError, float]:
    """The error, and how many seconds it took."""
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable) as caught:
        action()
    return caught.value, time.monotonic() - began


def eventually(action: Callable[[], Any], within_s: float = 10.0) -> Any:
    """The result of the action once the cache is not away."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return action()
        except ServiceUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


# --- the promises ------------------------------------------------------------------------------------------------


def test_put_never_goes_back(cache: RedisCache) -> None:
    cache.put([state(1, 5), state(2, 5)])
    cache.put([state(1, 4, payload_json=b'{"old":1}'), state(2, 6), state(3, 1)])
    assert {id: found.version for id, found in cache.get([uid(1), uid(2), uid(3)]).items()} == {
        uid(1): 5,
        uid(2): 6,
        uid(3): 1,
    }
    assert only(cache, 1) == state(1, 5)


def test_put_never_goes_back_inside_one_put(cache: RedisCache) -> None:
    cache.put([state(1, 7), state(1, 9), state(1, 8)])
    assert only(cache, 1) == state(1, 9)


def test_put_never_goes_back_at_the_largest_versions(cache: RedisCache) -> None:
    largest = 2**53 - 1
    cache.put([state(1, largest - 1), state(2, largest)])
    cache.put([state(1, largest), state(2, largest - 1)])
    assert only(cache, 1) == state(1, largest)
    assert only(cache, 2) == state(2, largest)


def test_put_never_goes_back_with_racing_writers(rig: Rig) -> None:
    """Two writers, ten thousand puts of random versions: what stays is the newest of each memory."""
    seed = random.randrange(2**32)
    memories, each = 40, 5_000
    newest: dict[int, int] = dict.fromkeys(range(memories), 0)
    plans: list[list[MemoryState]] = []
    chance = random.Random(seed)
    for _ in range(2):
        plan = [state(chance.randrange(memories), chance.randrange(1, 2**53)) for _ in range(each)]
        plans.append(plan)
    for made in plans[0] + plans[1]:
        memory = next(number for number in range(memories) if uid(number) == made.id)
        newest[memory] = max(newest[memory], made.version)

    def write(cache: RedisCache, plan: list[MemoryState]) -> None:
        while plan:
            several, plan = plan[:7], plan[7:]
            cache.put(several)

    threads = [threading.Thread(target=write, args=(rig.cache(), plan)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rig.cache().get([uid(number) for number in range(memories)])
    assert {number: found[uid(number)].version for number in range(memories)} == newest, f"seed {seed}"


def test_tombstones_are_kept(cache: RedisCache) -> None:
    cache.put([state(1, 1)])
    cache.put([tombstone(1, 2)])
    cache.put([state(1, 1)])
    assert only(cache, 1) == tombstone(1, 2)
    cache.put([state(1, 3)])
    assert only(cache, 1) == state(1, 3)


def test_entries_expire(rig: Rig) -> None:
    cache = rig.cache(ttl_s=0.15)
    cache.put([state(1, 1), tombstone(2, 1)])
    deadline = time.monotonic() + 10
    while rig.bare.exists(rig.key(1), rig.key(2)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert cache.get([uid(1), uid(2)]) == {}
    cache.put([state(1, 1)])
    assert only(cache, 1) == state(1, 1)


def test_entries_live_as_long_as_is_said(rig: Rig) -> None:
    rig.cache(ttl_s=60).put([state(1, 1)])
    assert 50_000 < rig.bare.pttl(rig.key(1)) <= 60_000
    rig.cache(ttl_s=1e300).put([state(2, 1)])
    assert rig.bare.pttl(rig.key(2)) > 10**12


def test_the_same_version_lives_anew_and_an_older_one_does_not_lengthen_it(rig: Rig) -> None:
    rig.cache(ttl_s=60).put([state(1, 5)])
    rig.cache(ttl_s=600).put([state(1, 4)])
    assert rig.bare.pttl(rig.key(1)) <= 60_000
    rig.cache(ttl_s=600).put([state(1, 5)])
    assert rig.bare.pttl(rig.key(1)) > 500_000


# --- what comes back ---------------------------------------------------------------------------------------------

PAYLOADS = {
    "unicode": '{"text":"Grüße, 世界 \U0001f600 \u2028","\u00e9":1}'.encode(),
    "escapes": rb'{"a":"line\nfeed \t \" \\ \u0001","/":"~"}',
    "numbers": b'{"a":1.10,"b":1e2,"c":-0.0,"d":18446744073709551615,"e":0.1,"f":12345678901234567890}',
    "spaces": b'{ "a" : [ 1 , 2 ] }',
    "newlines": b'{\n"a":\n1}\n',
    "empty": b"{}",
    "deep": b'{"a":' + b"[" * 150 + b"]" * 150 + b"}",
    "large": b'{"text":"' + b"x" * 900_000 + b'"}',
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_bytes_come_back_as_they_went_in(cache: RedisCache, name: str) -> None:
    put = state(1, 1, payload_json=PAYLOADS[name])
    cache.put([put])
    assert only(cache, 1) == put


def test_every_field_comes_back(cache: RedisCache) -> None:
    put = state(
        1, 7, namespace="team ö\n1 2", importance=0.1 + 0.2, model_revision="m@1", created_at=-5, updated_at=2**60
    )
    cache.put([put])
    assert only(cache, 1) == put


def test_unknown_ids_are_absent(cache: RedisCache) -> None:
    cache.put([state(1, 1)])
    assert set(cache.get([uid(1), uid(2)])) == {uid(1)}
    assert cache.get([]) == {}
    cache.put([])


def test_more_than_one_round_trip_holds(cache: RedisCache) -> None:
    many = [state(number, 3) for number in range(2 * MOST_KEYS + 1)]
    cache.put(many)
    assert cache.get([one.id for one in many]) == {one.id: one for one in many}
    large = [state(number, 4, payload_json=b'{"t":"%b"}' % (b"x" * (MOST_BYTES // 3))) for number in range(7)]
    cache.put(large)
    assert cache.get([one.id for one in large]) == {one.id: one for one in large}


def test_one_put_of_a_batch_is_one_round_trip(rig: Rig) -> None:
    assert WorkerSettings().batch_size <= MOST_KEYS
    cache = rig.cache()
    cache.put([state(0, 1)])
    with rig.bare.monitor() as monitor:
        cache.put([state(number, 2) for number in range(MOST_KEYS)])
        cache.get([uid(number) for number in range(MOST_KEYS)])
        seen: list[str] = []
        while not seen or not seen[-1].startswith("MGET"):
            command = monitor.next_command()
            if rig.prefix in command["command"] and command["client_type"] != "lua":
                seen.append(command["command"])
    assert [command.split()[0] for command in seen] == ["EVALSHA", "MGET"]


def test_installations_are_told_apart_by_their_prefix(rig: Rig) -> None:
    with rig_at(rig.url) as other:
        rig.cache().put([state(1, 5)])
        assert only(other.cache(), 1) is None


# --- entries of others -------------------------------------------------------------------------------------------

ENTRY = (
    b'{"id":"%b","namespace":"n","importance":1.0,"created_at":1,"updated_at":1,'
    b'"last_event_id":"e","model_revision":null,"deleted":false}'
)
HEAD = ENTRY % uid(1).encode()
UNREADABLE = {
    "empty": b"",
    "text": b"hello",
    "binary": bytes(range(256)),
    "no version": b"1 x " + HEAD + b"\n{}",
    "no fields": b"1 5 {}\n{}",
    "no payload": b"1 5 " + HEAD,
    "a cut payload": b"1 5 " + HEAD + b'\n{"a":',
    "a payload that is no object": b"1 5 " + HEAD + b"\n[]",
    "a payload with a duplicate key": b"1 5 " + HEAD + b'\n{"a":1,"a":2}',
    "a wrong type": b"1 5 " + HEAD.replace(b'"created_at":1', b'"created_at":true') + b"\n{}",
    "another memory": b"1 5 " + ENTRY % uid(2).encode() + b"\n{}",
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
}


def test_the_entry_of_these_tests_is_one(rig: Rig) -> None:
    """Else the ones below would prove nothing."""
    rig.bare.set(rig.key(1), b"1 5 " + HEAD + b"\n{}")
    assert only(rig.cache(), 1) is not None


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_entry_is_absent_and_replaced(rig: Rig, name: str) -> None:
    cache = rig.cache()
    rig.bare.set(rig.key(1), UNREADABLE[name])
    assert only(cache, 1) is None
    cache.put([state(1, 6), state(2, 1)])
    assert only(cache, 1) == state(1, 6)


def test_a_key_of_another_type_is_absent_and_replaced(rig: Rig) -> None:
    cache = rig.cache()
    rig.bare.rpush(rig.key(1), "a", "b")
    rig.bare.hset(rig.key(2), "a", "b")
    assert cache.get([uid(1), uid(2), uid(3)]) == {}
    cache.put([state(1, 1), state(2, 1), state(3, 1)])
    assert len(cache.get([uid(1), uid(2), uid(3)])) == 3


def test_an_entry_of_a_newer_format_is_absent_and_not_taken_back(rig: Rig) -> None:
    cache = rig.cache()
    newer = b"2 50 " + HEAD + b"\n{}"
    rig.bare.set(rig.key(1), newer)
    assert only(cache, 1) is None
    cache.put([state(1, 49)])
    assert rig.bare.get(rig.key(1)) == newer
    cache.put([state(1, 51)])
    assert only(cache, 1) == state(1, 51)


def test_the_entry_is_readable_json(rig: Rig) -> None:
    rig.cache().put([state(1, 5)])
    head, payload = rig.bare.get(rig.key(1)).split(b"\n")
    assert head.startswith(b"1 5 {")
    assert json.loads(head[4:])["id"] == uid(1)
    assert payload == b'{"text":"version 5"}'


# --- a server in trouble -----------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def own(server: RedisServer) -> Iterator[Rig]:
    with rig_at(server.address) as rig:
        yield rig


def test_a_stopped_server_is_away_and_comes_back(server: RedisServer, own: Rig) -> None:
    cache = own.cache(timeout_s=TIMEOUT_S)
    cache.put([state(1, 1)])
    server.stop()
    for action in (lambda: only(cache, 1), lambda: cache.put([state(1, 2)]), cache.health):
        error, _ = unavailable(action)
        assert server.address in error.message
        assert error.hint
    server.start()
    eventually(lambda: cache.put([state(1, 2)]))
    assert only(cache, 1) == state(1, 2)


def test_a_restart_between_two_calls_is_not_noticed(server: RedisServer, own: Rig) -> None:
    """Neither the dead connection nor the forgotten script."""
    cache = own.cache()
    cache.put([state(1, 1)])
    server.stop()
    server.start()
    cache.put([state(1, 1)])
    assert only(cache, 1) == state(1, 1)
    own.bare.script_flush()
    cache.put([state(1, 2)])
    assert only(cache, 1) == state(1, 2)


def test_a_server_that_hangs_costs_one_timeout_and_then_nothing(server: RedisServer, own: Rig) -> None:
    cache = own.cache(timeout_s=TIMEOUT_S, pause_s=PAUSE_S)
    cache.put([state(1, 1)])
    server.pause()
    try:
        error, took_s = unavailable(lambda: only(cache, 1))
        assert "did not answer within 0.3 s" in error.message
        assert 0.9 * TIMEOUT_S < took_s < 2 * TIMEOUT_S
        began = time.monotonic()
        for _ in range(100):
            error, _ = unavailable(lambda: only(cache, 1))
            unavailable(lambda: cache.put([state(1, 2)]))
        assert time.monotonic() - began < TIMEOUT_S, "these calls waited for the server"
        assert "not asked again for" in error.message
    finally:
        server.resume()
    assert eventually(lambda: only(cache, 1)) == state(1, 1)
    assert only(cache, 1) == state(1, 1)


def test_after_the_pause_one_call_tries_and_the_others_go_on_without(server: RedisServer, own: Rig) -> None:
    cache = own.cache(timeout_s=TIMEOUT_S, pause_s=PAUSE_S)
    cache.put([state(1, 1)])
    server.pause()
    try:
        unavailable(lambda: only(cache, 1))
        time.sleep(PAUSE_S)  # the pause itself is what is waited for
        took: list[float] = []
        threads = [
            threading.Thread(target=lambda: took.append(unavailable(lambda: only(cache, 1))[1])) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([one for one in took if one > TIMEOUT_S / 2]) == 1
    finally:
        server.resume()


def test_health_asks_also_while_others_do_not(server: RedisServer, own: Rig) -> None:
    cache = own.cache(pause_s=3600)
    server.stop()
    unavailable(lambda: only(cache, 1))
    server.start()
    unavailable(lambda: only(cache, 1))
    assert cache.health()[0].status == "ok"
    assert only(cache, 1) is None


def test_what_accepts_and_never_answers_costs_one_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, rig_at(_url_of(silent)) as rig:
        cache = rig.cache(timeout_s=TIMEOUT_S, pause_s=60)
        error, took_s = unavailable(lambda: cache.put([state(1, 1)]))
        assert 0.9 * TIMEOUT_S < took_s < 2 * TIMEOUT_S
        assert _url_of(silent) in error.message
        assert unavailable(lambda: only(cache, 1))[1] < TIMEOUT_S / 2
        assert unavailable(cache.health)[1] < 2 * TIMEOUT_S


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = _url_of(taken)
    with rig_at(url) as rig:
        error, took_s = unavailable(lambda: only(rig.cache(), 1))
        assert "cannot be reached" in error.message
        assert took_s < 1


def test_what_is_no_redis_is_a_matter_of_the_settings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, rig_at(_url_of(listener)) as rig:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1000)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConfigurationError, match="does not answer as Redis does") as caught:
            only(rig.cache(), 1)
        thread.join()
        assert "cache.url" in caught.value.hint


def _url_of(listener: socket.socket) -> str:
    return f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@pytest.mark.parametrize("secret", [":wrong-secret@", "nobody:wrong-secret@", ""], ids=["password", "user", "none"])
def test_a_wrong_password_is_told_and_not_shown(secret: str) -> None:
    with (
        RedisServer(password="right-secret") as server,
        rig_at(f"redis://{secret}127.0.0.1:{server.port}/0") as rig,
        pytest.raises(ConfigurationError, match="refuses the user or the password") as caught,
    ):
        only(rig.cache(), 1)
    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


def test_the_right_password_is_not_shown_when_the_server_is_away() -> None:
    with RedisServer(password="right-secret") as server, rig_at(server.address) as rig:
        cache = rig.cache()
        cache.put([state(1, 1)])
        server.stop()
        for _ in range(2):
            error, _ = unavailable(lambda: only(cache, 1))
            assert "secret" not in f"{error.message} {error.hint}"
        assert "secret" not in repr(cache)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/0", "redis://127.0.0.1:port/0", "redis://127.0.0.1:1/0?no_such_option=1", "redis://[::1/0"],
)
def test_an_address_that_cannot_be_used(url: str) -> None:
    cache = RedisCache(CacheSettings("redis", url))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="cannot be asked") as caught:
            cache.get([uid(1)])
        assert "cache.url" in caught.value.hint


def test_a_database_that_there_is_not(server: RedisServer) -> None:
    cache = RedisCache(CacheSettings("redis", f"redis://127.0.0.1:{server.port}/999"))
    with pytest.raises(ConfigurationError, match="refuses a command: DB index"):
        cache.get([uid(1)])


def test_a_full_server_refuses_writes_and_still_answers(own: Rig) -> None:
    cache = own.cache()
    cache.put([state(1, 1)])
    own.bare.config_set("maxmemory-policy", "noeviction")
    own.bare.config_set("maxmemory", own.bare.info("memory")["used_memory"] + 2_000_000)

    def fill() -> None:
        for number in range(2, 1000):
            cache.put([state(number, 1, payload_json=b'{"t":"%b"}' % (b"x" * 50_000))])

    with pytest.raises(OutOfSpace, match="no memory left") as caught:
        fill()
    assert "maxmemory" in caught.value.hint
    assert only(cache, 1) == state(1, 1)
    memory = {finding.check: finding for finding in cache.health()}["cache memory"]
    assert (memory.status, "noeviction" in memory.message) == ("warning", True)
    own.bare.config_set("maxmemory-policy", "allkeys-lru")
    assert {finding.status for finding in cache.health()} == {"ok"}
    fill()


def test_a_replica_is_told(server: RedisServer, own: Rig) -> None:
    cache = own.cache()
    cache.put([state(1, 1)])
    with RedisServer(settings={"replicaof": f"127.0.0.1 {server.port}"}) as replica, rig_at(replica.address) as rig:
        rig.prefix = own.prefix
        following = rig.cache()
        error, _ = unavailable(lambda: following.put([state(2, 1)]))
        assert "replica and takes no writes" in error.message
        # It asks for the address again: the name may lead to the new primary by now.
        assert [one for one in rig.bare.client_list(_type="normal") if one["cmd"].startswith("eval")] == []
        role = {finding.check: finding for finding in following.health()}["cache role"]
        assert role.status == "warning"
        rig.bare.replicaof("NO", "ONE")
        following.put([state(2, 1)])
        assert only(following, 2) == state(2, 1)


def test_health_tells_version_memory_and_role(server: RedisServer, own: Rig) -> None:
    findings = own.cache().health()
    assert [(finding.check, finding.status) for finding in findings] == [
        ("cache", "ok"),
        ("cache memory", "ok"),
        ("cache role", "ok"),
    ]
    assert server.address in findings[0].message
    assert f"Redis {own.bare.info('server')['redis_version']}" in findings[0].message


# --- the client --------------------------------------------------------------------------------------------------


def test_nothing_is_loaded_or_connected_before_the_first_use() -> None:
    script = """
import sys
from soma_cli.core.adapters.cache.redis import RedisCache
from soma_cli.core.settings import CacheSettings, WorkerSettings
RedisCache(CacheSettings("redis", "redis://127.0.0.1:1/0")).close()
print("redis" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "False"


def test_close_gives_back_the_connections(own: Rig) -> None:
    cache = own.cache()
    cache.put([state(1, 1)])
    assert len(own.bare.client_list()) == 2
    cache.close()
    cache.close()
    deadline = time.monotonic() + 10
    while len(own.bare.client_list()) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert only(cache, 1) == state(1, 1)


def test_threads_share_a_cache(rig: Rig) -> None:
    cache = rig.cache()
    wrong: list[object] = []

    def work(memory: int) -> None:
        for version in range(1, 200):
            cache.put([state(memory, version)])
            found = only(cache, memory)
            if found != state(memory, version):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(memory,)) for memory in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
