"""Topics, schemas, groups and cache keys of the benchmark's own. All of them begin with `soma_bench_`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from soma_cli.bench.cluster.servers import kafka_client
from soma_cli.bench.comparison import NotHere, Workload
from soma_cli.core.record import (
    AUDIT_TOPIC,
    DEAD_LETTER_TOPIC,
    EVENTS_TOPIC,
    LATEST_TOPIC,
    REQUESTS_TOPIC,
    RESPONSES_TOPIC,
)
from soma_cli.core.settings import IndexSettings, Settings
from soma_cli.core.system import MemorySystem

_ANSWER_S = 30.0
_TOPICS = (EVENTS_TOPIC, AUDIT_TOPIC, LATEST_TOPIC, REQUESTS_TOPIC, RESPONSES_TOPIC, DEAD_LETTER_TOPIC)
_CONNECTS = "memory.connect.dlq"


class Place:
    """`settings` name new topics, and no tables yet; each `tables` makes a new schema, with groups of its own, so that
    a round may follow the same topics from the start."""

    def __init__(self, workload: Workload) -> None:
        self.name = f"soma_bench_{secrets.token_hex(5)}"
        self._given = given = workload.settings
        self.settings = replace(
            given,
            data_dir=workload.folder / "soma",
            log=replace(given.log, topic_prefix=f"{self.name}.", group_prefix=self.name, instance_id=None),
            cache=replace(given.cache, prefix=f"{self.name}:"),
            index=IndexSettings(),
        )
        self._schemas: list[str] = []

    def make_topics(self) -> None:
        """Raises ServiceUnavailable, ConfigurationError (a missing right)."""
        with MemorySystem(self.settings) as system:
            system.adapters.log.provision()

    @property
    def topic(self) -> str:
        """`memory.events` as the brokers call it."""
        return self.settings.log.topic_prefix + EVENTS_TOPIC

    def tables(self) -> Settings:
        """Settings of an empty store that knows the topic."""
        schema = f"{self.name}_{len(self._schemas)}"
        self._make(schema)
        dsn = self._given.store.dsn or ""
        options = f"{conninfo_to_dict(dsn).get('options') or ''} -csearch_path={schema}"
        made = replace(
            self.settings,
            store=replace(self._given.store, dsn=make_conninfo(dsn, options=options.strip())),
            log=replace(self.settings.log, group_prefix=schema),
        )
        with MemorySystem(made) as system:
            system.adapters.store.provision()
            system.adapters.store.register_topic(EVENTS_TOPIC, system.adapters.log.topic_id(EVENTS_TOPIC))
        return made

    def _make(self, schema: str) -> None:
        self._schemas.append(schema)
        try:
            with psycopg.connect(self._given.store.dsn or "", autocommit=True) as connection:
                connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        except psycopg.Error as error:
            raise NotHere(f"no schema could be made: {str(error).splitlines()[0]}") from error

    def remove(self) -> None:
        """Take everything away. What cannot be, because its server is away, does not keep the rest."""
        with suppress(psycopg.Error):
            self._remove_schemas()
        with suppress(KafkaException):
            self._remove_topics()
        with suppress(redis.RedisError):
            self._remove_keys()

    def _remove_schemas(self) -> None:
        with psycopg.connect(self._given.store.dsn or "", autocommit=True) as connection:
            for schema in self._schemas:
                connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))

    def _remove_topics(self) -> None:
        """All that there may be, listed or not: those that are being made when the benchmark is ended are not yet."""
        admin = AdminClient(kafka_client(self._given))
        topics = [self.settings.log.topic_prefix + topic for topic in (*_TOPICS, _CONNECTS)]
        known = admin.list_consumer_groups().result(_ANSWER_S).valid
        groups = [
            group.group_id for group in known or () if group.group_id.removeprefix("connect-").startswith(self.name)
        ]
        asked = {**(admin.delete_consumer_groups(groups) if groups else {})}
        asked |= admin.delete_topics(topics)
        for answer in asked.values():
            with suppress(KafkaException):
                answer.result(_ANSWER_S)

    def _remove_keys(self) -> None:
        if self._given.cache.kind != "redis":
            return
        with redis.Redis.from_url(self._given.cache.url or "") as client:
            for key in client.scan_iter(match=f"{self.name}:*", count=1000):
                client.delete(key)


@contextmanager
def place(workload: Workload) -> Iterator[Place]:
    """A place that is taken away at the end, whatever happens meanwhile."""
    made = Place(workload)
    try:
        made.make_topics()
        yield made
    finally:
        made.remove()
