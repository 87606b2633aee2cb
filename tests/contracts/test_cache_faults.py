"""A Redis that stops, hangs, is full, follows another, refuses a password or is none, and what the cache says of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from soma_cli.core.adapters.cache.redis import RedisCache
from soma_cli.core.errors import ConfigurationError, OutOfSpace, ServiceUnavailable, SomaError
from soma_cli.core.settings import CacheSettings
from tests.contracts.caches import PAUSE_S, Rig, only, rig_at, state
from tests.contracts.caches import own as own
from tests.contracts.caches import server as server
from tests.contracts.events import uid
from tests.services import RedisServer

TIMEOUT_S = 0.3
AT_MOST_S = 10.0
"""What a busy machine may make of a timeout; without one, a call would hang."""
NOT_ASKED = "not asked again for"


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
    cache = own.cache(timeout_s=TIMEOUT_S, pause_s=600)
    again_soon = own.cache(timeout_s=TIMEOUT_S, pause_s=PAUSE_S)
    cache.put([state(1, 1)])
    server.pause()
    try:
        error, took_s = unavailable(lambda: only(cache, 1))
        assert "did not answer within 0.3 s" in error.message
        assert NOT_ASKED not in error.message
        assert 0.9 * TIMEOUT_S < took_s < AT_MOST_S
        for _ in range(100):
            for action in (lambda: only(cache, 1), lambda: cache.put([state(1, 2)])):
                assert NOT_ASKED in unavailable(action)[0].message
        unavailable(lambda: only(again_soon, 1))
    finally:
        server.resume()
    assert eventually(lambda: only(again_soon, 1)) == state(1, 1)
    assert only(again_soon, 1) == state(1, 1)


def test_after_the_pause_one_call_tries_and_the_others_go_on_without(server: RedisServer, own: Rig) -> None:
    pause_s = 2.0
    cache = own.cache(timeout_s=TIMEOUT_S, pause_s=pause_s)
    cache.put([state(1, 1)])
    server.pause()
    try:
        unavailable(lambda: only(cache, 1))
        time.sleep(pause_s)  # the pause itself is what is waited for
        told: list[str] = []
        threads = [
            threading.Thread(target=lambda: told.append(unavailable(lambda: only(cache, 1))[0].message))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [NOT_ASKED in message for message in told].count(False) == 1, told
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
        assert 0.9 * TIMEOUT_S < took_s < AT_MOST_S
        assert _url_of(silent) in error.message
        assert NOT_ASKED in unavailable(lambda: only(cache, 1))[0].message
        assert unavailable(cache.health)[1] < AT_MOST_S


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = _url_of(taken)
    with rig_at(url) as rig:
        error, took_s = unavailable(lambda: only(rig.cache(), 1))
        assert "cannot be reached" in error.message
        assert took_s < AT_MOST_S


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
