"""What a cache promises, on a real Redis; one that is in trouble is in test_cache_faults.py."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from soma_cli.core.adapters.cache.redis import MOST_BYTES, MOST_KEYS, RedisCache
from soma_cli.core.memory import MemoryState
from soma_cli.core.settings import WorkerSettings
from tests.contracts.caches import Rig, only, rig_at, state
from tests.contracts.caches import cache as cache
from tests.contracts.caches import own as own
from tests.contracts.caches import rig as rig
from tests.contracts.caches import server as server
from tests.contracts.events import uid


def tombstone(memory: int, version: int) -> MemoryState:
    return state(memory, version, payload_json=b"{}", deleted=True)


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
    lasting = rig.cache()
    lasting.put([state(1, 1)])
    assert only(lasting, 1) == state(1, 1)


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
