"""The embedded log: topics of one partition each in one SQLite file, every commit synced to disk."""

from __future__ import annotations

import base64
import fcntl
import itertools
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from filelock import FileLock, Timeout

from soma_cli.core.adapters.data_folder import DataFolder, folder_error
from soma_cli.core.adapters.named_queries import named_queries
from soma_cli.core.adapters.sqlite import Database
from soma_cli.core.adapters.sqlite_health import database_health
from soma_cli.core.errors import ConfigurationError, NotFound, UsageError
from soma_cli.core.instants import now_us
from soma_cli.core.ports import (
    Appended,
    Assigned,
    Bounds,
    Committed,
    Copier,
    HeldBack,
    Provisioned,
    Revoked,
    Run,
    nothing_to_do,
)
from soma_cli.core.record import DEAD_LETTER_TOPIC, EVENTS_TOPIC, Headers, NewRecord, Position, Record
from soma_cli.core.results import Finding

PARTITION = 0
_SQL = Path(__file__).parent / "sql"
_OFFSET_BITS = 40
_OFFSETS = (1 << _OFFSET_BITS) - 1
_SCAN_CHUNK = 1000
_MEMBER_NUMBERS = itertools.count()


class SqliteEventLog:
    """`EventLog` on one SQLite file. Safe with several threads and processes; one partition a topic."""

    follows_itself = True

    def __init__(self, folder: DataFolder, *, poll_interval_s: float = 0.05) -> None:
        self._path = folder.log
        self._members = folder.members
        self._poll_interval_s = poll_interval_s
        self._queries = named_queries(_SQL / "sqlite.sql")
        self._topics: dict[str, tuple[int, str]] = {}
        self._database = Database(folder.log, _SQL / "migrations", folder.setup_lock(), durable=True)
        try:
            for topic in (EVENTS_TOPIC, DEAD_LETTER_TOPIC):
                self._ensure_topic(topic)
        except BaseException:
            self._database.close()
            raise

    def _ensure_topic(self, topic: str) -> None:
        with self._database.reading() as connection:
            known = connection.execute(self._queries["topic"], (topic,)).fetchone()
        if known is None:
            with self._database.writing() as connection:
                connection.execute(self._queries["create_topic"], (topic, str(uuid.uuid4()), now_us()))

    def _topic(self, topic: str) -> tuple[int, str]:
        if topic not in self._topics:
            with self._database.reading() as connection:
                row = connection.execute(self._queries["topic"], (topic,)).fetchone()
            if row is None:
                raise NotFound(f"the log has no topic {topic}", hint=f"its topics are: {', '.join(self.topics())}")
            self._topics[topic] = (row[0], row[1])
        return self._topics[topic]

    def provision(self) -> Provisioned:
        """Opening has made the topics already."""
        return Provisioned([], [f"topic {topic}" for topic in self.topics()], [])

    def topics(self) -> list[str]:
        with self._database.reading() as connection:
            return [row[0] for row in connection.execute(self._queries["topics"])]

    def topic_id(self, topic: str, *, anew: bool = False) -> str:
        return self._topic(topic)[1]

    def append(self, records: Sequence[NewRecord]) -> list[Appended]:
        with self._database.writing() as connection:
            return list(self._insert(connection, records))

    def _insert(self, connection: sqlite3.Connection, records: Sequence[NewRecord]) -> list[Appended]:
        """Offsets go on from each topic's newest record; the clock never runs backwards within a topic."""
        next_seq: dict[str, int] = {}
        now = now_us()
        for topic in {record.topic for record in records}:
            next_seq[topic], newest_at = self._end(connection, topic)
            now = max(now, newest_at)
        rows, receipts = [], []
        for record in records:
            seq = next_seq[record.topic]
            next_seq[record.topic] = seq + 1
            rows.append((seq, now, record.key, record.value, _packed(record.headers)))
            receipts.append(Appended(Position(record.topic, PARTITION, _offset(seq)), now))
        connection.executemany(self._queries["append"], rows)
        return receipts

    def _end(self, connection: sqlite3.Connection, topic: str) -> tuple[int, int]:
        """The seq that the topic's next record will have, and the newest record's append time (0: none)."""
        first, behind = self._range(topic)
        row = connection.execute(self._queries["newest"], (first, behind)).fetchone()
        return (first, 0) if row is None else (row[0] + 1, row[1])

    def _range(self, topic: str) -> tuple[int, int]:
        number = self._topic(topic)[0]
        return number << _OFFSET_BITS, (number + 1) << _OFFSET_BITS

    def partitions_of(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        return [PARTITION] * len(keys)

    def bounds(self, topic: str, reaching: Mapping[int, int] | None = None) -> dict[int, Bounds]:
        with self._database.reading() as connection:
            return {PARTITION: Bounds(0, _offset(self._end(connection, topic)[0]))}

    def scan(self, topic: str, partition: int, start: int, end: int, key: bytes | None = None) -> Iterator[Record]:
        _check_partition(topic, partition)
        base, limit = self._range(topic)
        at, behind = base + max(start, 0), min(base + end, limit)
        while at < behind:
            chunk = self._read(topic, at, behind, _SCAN_CHUNK, key)
            yield from chunk
            if len(chunk) < _SCAN_CHUNK:
                return
            at = base + chunk[-1].offset + 1

    def _read(self, topic: str, at: int, behind: int, limit: int, key: bytes | None = None) -> list[Record]:
        with self._database.reading() as connection:
            if key is None:
                rows = connection.execute(self._queries["read"], (at, behind, limit)).fetchall()
            else:
                rows = connection.execute(self._queries["read_key"], (at, behind, key, limit)).fetchall()
        return [
            Record(topic, PARTITION, seq & _OFFSETS, appended_at, row_key, value, _unpacked(headers) if headers else ())
            for seq, appended_at, row_key, value, headers in rows
        ]

    def read(self, topic: str, start: int, limit: int) -> list[Record]:
        """Up to `limit` records from `start` on, at once."""
        first, behind = self._range(topic)
        return self._read(topic, min(first + max(start, 0), behind), behind, limit)

    def offset_at(self, topic: str, partition: int, instant: int) -> int:
        """By bisection: append times never fall within a topic, and offsets have no gaps here."""
        _check_partition(topic, partition)
        first = self._range(topic)[0]
        with self._database.reading() as connection:
            low, high = 0, _offset(self._end(connection, topic)[0])
            while low < high:
                middle = (low + high) // 2
                appended_at = connection.execute(self._queries["appended_at"], (first + middle,)).fetchone()[0]
                low, high = (middle + 1, high) if appended_at < instant else (low, middle)
        return low

    def compacted_before(self, topic: str) -> int | None:
        return None

    def copier(self, group: str, topic: str, start: Assigned) -> Copier:
        raise ConfigurationError(
            "the embedded log has no transactions to copy in, and needs none: it keeps every event",
            hint="run `soma consume all`",
            code="not_in_profile",
        )

    def consumer(self, group: str, topic: str, start: Assigned, revoked: Revoked = nothing_to_do) -> SqliteConsumer:
        """A partition is never taken from a live member, so `revoked` is not called."""
        member = self._join(group)
        lead = FileLock(self._members / f"{quote(group, safe='')}.lead", thread_local=False)
        return SqliteConsumer(self, group, topic, start, member, lead, self._poll_interval_s)

    def _join(self, group: str) -> FileLock:
        """A lock file is a member: the operating system takes the lock back when its process dies."""
        name = f"{quote(group, safe='')}.{os.getpid()}.{next(_MEMBER_NUMBERS)}.lock"
        member = FileLock(self._members / name, thread_local=False)
        try:
            self._members.mkdir(exist_ok=True)
            _remove_dead(self._members)
            member.acquire()
        except OSError as error:
            raise folder_error(self._members.parent, error) from error
        return member

    def unserved(self, group: str, topic: str) -> frozenset[int]:
        return frozenset()

    def held_back(self, topic: str) -> dict[int, HeldBack]:
        return {}

    def members(self, group: str) -> int:
        name = quote(group, safe="")
        return sum(_is_alive(path) for path in self._members.glob("*.lock") if path.name.rsplit(".", 3)[0] == name)

    def committed(self, group: str, topic: str) -> dict[int, Committed]:
        with self._database.reading() as connection:
            rows = connection.execute(self._queries["committed"], (group, topic)).fetchall()
        return {partition: Committed(offset, at, rate) for partition, offset, at, rate in rows}

    def commit(self, group: str, topic: str, offsets: Mapping[int, int], rate_per_s: float | None) -> None:
        now = now_us()
        rows = [(group, topic, partition, offset, now, rate_per_s) for partition, offset in offsets.items()]
        with self._database.writing() as connection:
            connection.executemany(self._queries["commit"], rows)

    def stats(self) -> dict[str, Any]:
        return {"where": str(self._path)}

    def health(self, *, deep: bool = False) -> list[Finding]:
        hint = "restore the log from a backup: everything else can be rebuilt from it"
        return [database_health("log", self._database, hint, deep=deep)]

    def close(self) -> None:
        self._database.close()


class SqliteConsumer:
    """`Consumer` of the one partition. It belongs to one member of the group at a time, which holds the lead lock; the
    others stand by, and the operating system hands the lock on when that member ends or dies."""

    def __init__(
        self,
        log: SqliteEventLog,
        group: str,
        topic: str,
        start: Assigned,
        member: FileLock,
        lead: FileLock,
        poll_interval_s: float,
    ) -> None:
        self._log = log
        self._group = group
        self._topic = topic
        self._start = start
        self._member = member
        self._lead = lead
        self._poll_interval_s = poll_interval_s
        self._offset: int | None = None
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def _take(self) -> int | None:
        """The offset to read next; None while another member has the partition."""
        if self._offset is None:
            try:
                self._lead.acquire(timeout=0)
            except Timeout:
                return None
            self._offset = self._start(PARTITION)
        return self._offset

    def poll(self, limit: int, timeout_s: float) -> list[Run]:
        deadline = time.monotonic() + timeout_s
        while True:
            offset = self._take()
            records = [] if offset is None else self._log.read(self._topic, offset, limit)
            left = deadline - time.monotonic()
            if records or left <= 0:
                break
            time.sleep(min(self._poll_interval_s, left))
        if not records or offset is None:
            return []
        self._offset = records[-1].offset + 1
        return [Run(PARTITION, offset, self._offset, records)]

    def keep(self) -> None:
        """The lock keeps the partition, whatever this member does."""

    def assigned(self) -> frozenset[int]:
        return frozenset() if self._offset is None else frozenset((PARTITION,))

    def seek(self, partition: int, offset: int) -> None:
        _check_partition(self._topic, partition)
        self._offset = offset

    def commit(self, offsets: Mapping[int, int], rate_per_s: float | None = None) -> None:
        self._log.commit(self._group, self._topic, offsets, rate_per_s)

    def close(self) -> None:
        self._lead.release()
        self._member.release()
        Path(self._member.lock_file).unlink(missing_ok=True)


def _is_alive(member: Path) -> bool:
    """Whether a process holds the member's lock. Asking makes no file and keeps nobody else who asks from seeing it."""
    try:
        descriptor = os.open(member, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _remove_dead(members: Path) -> None:
    """Files of members whose processes died. Who joins does it, not who asks: it takes their locks for a moment."""
    for member in members.glob("*.lock"):
        probe = FileLock(member)
        with suppress(Timeout, OSError), probe.acquire(timeout=0):
            member.unlink(missing_ok=True)


def _check_partition(topic: str, partition: int) -> None:
    if partition != PARTITION:
        raise UsageError(f"{topic} has no partition {partition}", hint="the embedded log has one partition: 0")


def _offset(seq: int) -> int:
    return seq & _OFFSETS


def _packed(headers: Headers) -> bytes | None:
    """Headers are an ordered list, repeats allowed; their values are bytes, hence the base64."""
    if not headers:
        return None
    return orjson.dumps(
        [(name, None if value is None else base64.b64encode(value).decode()) for name, value in headers]
    )


def _unpacked(headers: bytes) -> Headers:
    return tuple((name, None if value is None else base64.b64decode(value)) for name, value in orjson.loads(headers))
