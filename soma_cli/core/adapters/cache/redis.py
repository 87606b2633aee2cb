"""The cache in Redis: one value a memory, read by MGET, written by one script that never puts an older state.

Supported is one primary, by `redis://`, `rediss://` or `unix://`. Redis Cluster is not: there the keys of one MGET and
of one script would lie in several slots.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from soma_cli.core.adapters.cache.circuit import Circuit
from soma_cli.core.adapters.cache.entry import decode, encode
from soma_cli.core.adapters.cache.redis_health import findings_of
from soma_cli.core.memory import MemoryState
from soma_cli.core.results import Finding
from soma_cli.core.settings import CacheSettings
from soma_cli.core.settings_catalogue import without_password

if TYPE_CHECKING:
    from redis import Redis

PAUSE_S = 3.0
"""So long the server is left alone after it was away: reads meanwhile lose no time on it."""
MOST_KEYS, MOST_BYTES = 500, 4_000_000
"""Of one round trip, of which a full batch of kv takes two. While a script runs the server serves nobody else, so it
must not take long: 5 ms for so many keys of a kilobyte."""

_SCRIPT = (Path(__file__).parent / "put_if_newer.lua").read_bytes()
_SCRIPT_SHA = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest()
_LONGEST_LIFE_MS = 2**40

T = TypeVar("T")


class RedisCache:
    """A `Cache`. Nothing is connected, and the client library is not loaded, before the first use.

    A call takes at most about `timeout_s` where the server is silent: nothing is tried twice, and after a failed
    connection every call raises at once for `PAUSE_S`. (Looking up the server's name is the system's, and not bounded.)
    """

    def __init__(self, settings: CacheSettings, pause_s: float = PAUSE_S) -> None:
        self._settings = settings
        self._life_ms = max(1, min(round(settings.ttl_s * 1000), _LONGEST_LIFE_MS))
        self._prefix = settings.prefix
        self._circuit = Circuit(pause_s)
        self._connecting = threading.Lock()
        self._connected: Redis | None = None

    def get(self, ids: Collection[str]) -> dict[str, MemoryState]:
        """What is known of these ids, tombstones too; an entry that cannot be read counts as absent."""
        found = {}
        for some in _slices(list(ids)):
            entries = self._ask(partial(_read, [self._key(id) for id in some]))
            for id, entry in zip(some, entries, strict=True):
                state = decode(id, entry)
                if state is not None:
                    found[id] = state
        return found

    def put(self, states: Collection[MemoryState]) -> None:
        """Write what is not older than what is there, and let it live for `ttl_s` from now."""
        for keys, entries in _loads((self._key(state.id), encode(state)) for state in states):
            self._ask(partial(_write, self._life_ms, keys, entries))

    def health(self) -> list[Finding]:
        """Asks the server, also while others leave it alone."""
        info = self._ask(_info, always=True)
        return findings_of(info, without_password(self._settings.url or ""))

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._connecting:
            client, self._connected = self._connected, None
        if client is not None:
            client.close()
            client.connection_pool.disconnect()

    def _key(self, id: str) -> str:
        return self._prefix + id

    def _ask(self, command: Callable[[Redis], T], *, always: bool = False) -> T:
        from soma_cli.core.adapters.cache.redis_errors import CLIENT_ERRORS, is_away, is_demoted, translated

        if not always:
            self._circuit.check()
        try:
            answer = command(self._client())
        except CLIENT_ERRORS as error:
            fault = translated(error, self._settings)
            if is_away(error):
                self._circuit.failed(fault)
            elif is_demoted(error):
                self.close()  # the next connection may find the new primary under the same name
            raise fault from error
        self._circuit.answered()
        return answer

    def _client(self) -> Redis:
        client = self._connected
        if client is None:
            with self._connecting:
                if self._connected is None:
                    self._connected = _client_of(self._settings)
                client = self._connected
        return client


def _read(keys: list[str], redis: Redis) -> list[bytes | None]:
    entries: list[bytes | None] = _execute(redis, "MGET", *keys)
    return entries


def _write(life_ms: int, keys: list[str], entries: list[bytes], redis: Redis) -> None:
    from redis.exceptions import NoScriptError

    arguments: tuple[str | bytes | int, ...] = (len(keys), *keys, life_ms, *entries)
    try:
        _execute(redis, "EVALSHA", _SCRIPT_SHA, *arguments)
    except NoScriptError:  # a new server, or one that was told to forget: EVAL makes it remember
        _execute(redis, "EVAL", _SCRIPT, *arguments)


def _info(redis: Redis) -> dict[str, Any]:
    info: dict[str, Any] = _execute(redis, "INFO")
    return info


def _execute(redis: Redis, *command: str | bytes | int) -> Any:
    return redis.execute_command(*command)  # type: ignore[no-untyped-call]


def _client_of(settings: CacheSettings) -> Redis:
    """A client that tries nothing twice: its own retries would multiply the time that a silent server costs."""
    from redis import ConnectionPool, Redis
    from redis.backoff import NoBackoff
    from redis.connection import parse_url
    from redis.retry import Retry

    options: dict[str, Any] = parse_url(settings.url or "")  # type: ignore[no-untyped-call]
    options |= {
        "socket_timeout": settings.timeout_s,
        "socket_connect_timeout": settings.timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "decode_responses": False,
        "protocol": 2,  # one round trip less to connect, and all that is needed
    }
    return Redis(connection_pool=ConnectionPool(**options))


def _slices(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), MOST_KEYS):
        yield ids[start : start + MOST_KEYS]


def _loads(pairs: Iterator[tuple[str, bytes]]) -> Iterator[tuple[list[str], list[bytes]]]:
    """Keys and entries for one round trip each."""
    keys: list[str] = []
    entries: list[bytes] = []
    size = 0
    for key, entry in pairs:
        if entries and (len(entries) == MOST_KEYS or size + len(entry) > MOST_BYTES):
            yield keys, entries
            keys, entries, size = [], [], 0
        keys.append(key)
        entries.append(entry)
        size += len(entry)
    if entries:
        yield keys, entries
