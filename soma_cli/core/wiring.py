"""Settings to adapters: the only module that names them. Each is imported where it is chosen, and made when it is
first used, so that a command loads only what it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from soma_cli.core.errors import ConfigurationError, LogReplaced
from soma_cli.core.eventing.producer_schema import CheckSchema, ProducerSchema, unchecked
from soma_cli.core.ports import (
    Cache,
    Embedder,
    EventLog,
    IndexIdentity,
    MemoryStore,
    SchemaFiles,
    SchemaRegistry,
    VectorIndex,
)
from soma_cli.core.ports.connect import Connect
from soma_cli.core.ports.landing import Landing
from soma_cli.core.record import EVENTS_TOPIC
from soma_cli.core.results import Finding
from soma_cli.core.schemas import EVENT_SCHEMA, find_folder, subject_of
from soma_cli.core.settings import Settings
from soma_cli.core.workers.observation import Metrics


def open_log(settings: Settings, *, accept_new: bool = False, one_shot: bool = False) -> EventLog:
    """Raises LogReplaced where there is a store but its log is gone: a new one is made only if that is accepted."""
    if settings.log.kind == "kafka":
        from soma_cli.core.adapters.event_log.kafka import KafkaEventLog

        _needed(settings.log.bootstrap_servers, "log.bootstrap_servers", "kafka")
        return KafkaEventLog(settings.log, one_shot=one_shot)
    from soma_cli.core.adapters.data_folder import open_data_folder
    from soma_cli.core.adapters.event_log.sqlite import SqliteEventLog

    folder = open_data_folder(settings.data_dir)
    if not accept_new and settings.store.kind == "sqlite" and folder.store.exists() and not folder.log.exists():
        raise LogReplaced(
            f"the log {folder.log} is gone; the store that was made from it is still there",
            hint="put the log back from a backup; or, to begin a new one, run `soma init --new-epoch`",
        )
    return SqliteEventLog(folder, poll_interval_s=settings.worker.poll_interval_s)


def open_store(settings: Settings, *, one_shot: bool = False) -> MemoryStore:
    if settings.store.kind == "postgres":
        from soma_cli.core.adapters.memory_store.postgres import PostgresMemoryStore

        _needed(settings.store.dsn, "store.dsn", "postgres")
        return PostgresMemoryStore(settings.store, one_shot=one_shot)
    from soma_cli.core.adapters.data_folder import open_data_folder
    from soma_cli.core.adapters.memory_store.sqlite import SqliteMemoryStore

    return SqliteMemoryStore(open_data_folder(settings.data_dir))


def open_landing(settings: Settings) -> Landing:
    """Raises ConfigurationError where nothing can land: that takes brokers, and tables in PostgreSQL."""
    if settings.log.kind != "kafka" or settings.store.kind != "postgres":
        raise ConfigurationError(
            f"nothing lands here: log.kind is {settings.log.kind!r} and store.kind {settings.store.kind!r}",
            hint="Kafka Connect lands what is in Kafka in PostgreSQL; elsewhere run `soma consume all`",
            code="not_in_profile",
        )
    from soma_cli.core.adapters.memory_store.postgres_landing import PostgresLanding

    _needed(settings.store.dsn, "store.dsn", "postgres")
    topic = settings.log.topic_prefix + EVENTS_TOPIC
    return PostgresLanding(settings.store, topic, settings.log.session_timeout_s)


def open_connect(settings: Settings) -> Connect:
    from soma_cli.core.adapters.connect.connect_http import ConnectHttp

    _needed(settings.connect.url, "connect.url", "`soma connect`")
    return ConnectHttp(settings.connect)


def connect_target(settings: Settings) -> dict[str, str]:
    """The store as Kafka Connect is to be told of it: `jdbc_url`, `user`, `password`. Raises ConfigurationError."""
    from soma_cli.core.adapters.memory_store.postgres_jdbc import jdbc_target

    setting = "connect.store_dsn" if settings.connect.store_dsn else "store.dsn"
    _needed(settings.store.dsn, "store.dsn", "postgres")
    return jdbc_target(settings.connect.store_dsn or settings.store.dsn or "", setting)


def open_cache(settings: Settings) -> Cache | None:
    if settings.cache.kind == "none":
        return None
    from soma_cli.core.adapters.cache.redis import RedisCache

    _needed(settings.cache.url, "cache.url", "redis")
    return RedisCache(settings.cache)


def local_files(settings: Settings) -> dict[str, Path]:
    """The files that say whether a part of the data folder was made, by the part. Makes and opens nothing."""
    from soma_cli.core.adapters.data_folder import DataFolder

    folder = DataFolder(settings.data_dir)
    files = {"folder": folder.marker} if uses_folder(settings) else {}
    if settings.log.kind == "sqlite":
        files["log"] = folder.log
    if settings.store.kind == "sqlite":
        files |= {"store": folder.store, "access": folder.access}
    if settings.index.kind == "qdrant_edge":
        files["index"] = folder.index / "current"
    return files


def uses_folder(settings: Settings) -> bool:
    """Whether anything lies in the data folder."""
    return settings.log.kind == "sqlite" or settings.store.kind == "sqlite" or settings.index.kind == "qdrant_edge"


def folder_health(settings: Settings) -> list[Finding]:
    """Whether the data folder as such can be used. Makes nothing."""
    from soma_cli.core.adapters import folder_health

    return folder_health.folder_health(settings.data_dir)


def open_index(settings: Settings) -> VectorIndex:
    if settings.index.kind == "qdrant":
        from soma_cli.core.adapters.vector_index.qdrant import QdrantIndex

        _needed(settings.index.url, "index.url", "qdrant")
        return QdrantIndex(settings.index, identity=settled_identity(settings))
    from soma_cli.core.adapters.data_folder import open_data_folder
    from soma_cli.core.adapters.vector_index.qdrant_edge import QdrantEdgeIndex

    folder = open_data_folder(settings.data_dir)
    return QdrantEdgeIndex(folder.index, language=settings.index.language, identity=settled_identity(settings))


def settled_identity(settings: Settings) -> IndexIdentity:
    """What settings say of the index's vectors; None where the first embedding is to settle it."""
    revision = settings.index.model_revision or settings.embedder.model
    return IndexIdentity(revision, settings.index.dimension or settings.embedder.dimension)


def open_embedder(settings: Settings) -> Embedder | None:
    if settings.embedder.kind == "none":
        return None
    if settings.embedder.kind == "openai_http":
        from soma_cli.core.adapters.embedder.openai_http import OpenAIHttpEmbedder

        return OpenAIHttpEmbedder(settings.embedder)
    raise _not_yet("embedder.kind", settings.embedder.kind)


def open_released(settings: Settings) -> SchemaRegistry:
    """The versions that are released in the folder of schemas, whatever the registry's kind."""
    from soma_cli.core.adapters.schema_registry.files import FilesRegistry

    return FilesRegistry(find_folder(settings.registry.folder))


def open_schema_files(folder: Path, revision: str | None = None) -> SchemaFiles:
    """Schema files as they are, or as they were in a revision of the git repository around them."""
    if revision is not None:
        from soma_cli.core.adapters.schema_files.git import RevisionFiles

        return RevisionFiles(folder, revision)
    from soma_cli.core.adapters.schema_files.folder import FolderFiles

    return FolderFiles(folder)


def remote_schemas(settings: Settings) -> Callable[[str], bytes]:
    """Fetches what a schema refers to by an address."""
    from soma_cli.core.adapters.schema_files.http import fetch

    return lambda address: fetch(address, settings.registry.timeout_s)


def open_registry(settings: Settings) -> SchemaRegistry:
    if settings.registry.kind == "confluent_http":
        from soma_cli.core.adapters.schema_registry.confluent_http import ConfluentRegistry

        _needed(settings.registry.url, "registry.url", "confluent_http")
        return ConfluentRegistry(settings.registry)
    return open_released(settings)


def event_schema(settings: Settings, registry: Callable[[], SchemaRegistry]) -> CheckSchema:
    """What producers check events with besides the schema that ships with soma."""
    if settings.registry.validate == "none":
        return unchecked
    from soma_cli.core.adapters.schema_registry.copy_file import CopyFile

    subject = subject_of(EVENT_SCHEMA, settings)
    copies = CopyFile(settings.data_dir / "cache", registry().where(), subject)
    return ProducerSchema(registry, subject, settings.registry.refresh_s, copies)


def open_metrics_server(settings: Settings, port: int, checks: Mapping[str, Callable[[], object]]) -> Metrics:
    """Raises ConfigurationError where it cannot listen on that port."""
    from soma_cli.core.adapters.metrics.prometheus import MetricsServer

    return MetricsServer(port, settings.worker.metrics_host, checks=checks)


def _needed(value: str | None, key: str, kind: str) -> None:
    if not value:
        variable = "SOMA_" + key.replace(".", "__").upper()
        raise ConfigurationError(
            f"{key} is not set, and {kind} needs it",
            hint=f"set {key} in the settings file, or {variable}",
            code="missing_setting",
        )


def _not_yet(key: str, kind: str) -> ConfigurationError:
    return ConfigurationError(
        f"{key} is {kind!r}, which this version of soma does not have",
        hint="use the embedded profile; `soma config show` tells where the value came from",
        code="not_in_this_version",
    )


class Adapters:
    """The adapters of one system, made on first use and shared by its threads.

    `one_shot`: one command in a process of its own; what pays only over many calls is left out.
    """

    def __init__(self, settings: Settings, *, one_shot: bool = False) -> None:
        self._settings = settings
        self._one_shot = one_shot
        self._guard = threading.RLock()
        self._log: EventLog | None = None
        self._store: MemoryStore | None = None
        self._index: VectorIndex | None = None
        self._cache: tuple[Cache | None] | None = None
        self._embedder: tuple[Embedder | None] | None = None
        self._registry: SchemaRegistry | None = None
        self._event_schema: CheckSchema | None = None
        self.accept_new_log = False

    @property
    def log(self) -> EventLog:
        with self._guard:
            if self._log is None:
                self._log = open_log(self._settings, accept_new=self.accept_new_log, one_shot=self._one_shot)
            return self._log

    @property
    def store(self) -> MemoryStore:
        with self._guard:
            if self._store is None:
                self._store = open_store(self._settings, one_shot=self._one_shot)
            return self._store

    @property
    def index(self) -> VectorIndex:
        with self._guard:
            if self._index is None:
                self._index = open_index(self._settings)
            return self._index

    @property
    def cache(self) -> Cache | None:
        with self._guard:
            if self._cache is None:
                self._cache = (open_cache(self._settings),)
            return self._cache[0]

    @property
    def embedder(self) -> Embedder | None:
        with self._guard:
            if self._embedder is None:
                self._embedder = (open_embedder(self._settings),)
            return self._embedder[0]

    @property
    def registry(self) -> SchemaRegistry:
        with self._guard:
            if self._registry is None:
                self._registry = open_registry(self._settings)
            return self._registry

    @property
    def event_schema(self) -> CheckSchema:
        with self._guard:
            if self._event_schema is None:
                self._event_schema = event_schema(self._settings, lambda: self.registry)
            return self._event_schema

    def landing(self) -> Landing:
        """Another one at each call; whoever asks for it closes it."""
        return open_landing(self._settings)

    def close(self) -> None:
        """Every adapter is closed, also after one that could not be; what it raised is raised at the end."""
        with self._guard, ExitStack() as last_first:
            embedder = self._embedder[0] if self._embedder else None
            cache = self._cache[0] if self._cache else None
            for adapter in (self._log, self._store, cache, embedder, self._registry, self._index):
                if adapter is not None:
                    last_first.callback(adapter.close)
            self._log = self._store = self._index = self._cache = self._embedder = self._registry = None
