"""soma's settings: one small frozen group per port, values only.

How they are read (file, environment, profiles) is `settings_loader`'s business; what is accepted stands in each field's
metadata and is checked there. Constructed directly, nothing is checked: `Settings()` is the embedded profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


def about(doc: str, **rules: Any) -> dict[str, Any]:
    """Metadata of a field: its documentation, and the rules that the loader keeps.

    Rules: `secret`, or `secret_part` for an address of which only the password is hidden (both are left out of the
    repr), `minimum`, `above` (exclusive), `pattern` with `pattern_doc` (for a text, or for each item of a list),
    `null_is_default`.
    """
    return {"doc": doc, **rules}


def address(doc: str) -> dict[str, Any]:
    return about(doc, secret_part=True, pattern=r"[A-Za-z][A-Za-z0-9+.-]*://\S+", pattern_doc="an address with scheme")


def default_data_dir() -> Path:
    """The user's data folder for soma, `~/.local/share/soma` on Linux (XDG)."""
    from platformdirs import user_data_path

    return user_data_path("soma", appauthor=False)


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = field(
        default="PLAINTEXT", metadata=about("How soma talks to the brokers.")
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = field(
        default=None, metadata=about("SASL mechanism; needed with a SASL protocol.")
    )
    username: str | None = field(default=None, metadata=about("SASL user name."))
    password: str | None = field(default=None, repr=False, metadata=about("SASL password.", secret=True))
    ca_file: Path | None = field(
        default=None, metadata=about("PEM file of the authorities to trust; null means those of the system.")
    )
    cert_file: Path | None = field(default=None, metadata=about("PEM file of the client's certificate."))
    key_file: Path | None = field(default=None, metadata=about("PEM file of the client's private key."))


@dataclass(frozen=True, slots=True)
class LogSettings:
    kind: Literal["sqlite", "kafka"] = field(
        default="sqlite", metadata=about("Where the events are kept; `kafka` is what the cluster profile takes.")
    )
    bootstrap_servers: str | None = field(
        default=None, metadata=about("Brokers to ask first, `host:port` separated by commas (kafka).")
    )
    partitions: int = field(
        default=12, metadata=about("Partitions of a new topic, fixed for its life (kafka).", minimum=1)
    )
    replication_factor: int = field(default=3, metadata=about("Replicas of a new topic (kafka).", minimum=1))
    topic_prefix: str = field(
        default="",
        metadata=about(
            "Put before every topic name, so that several installations can share brokers (kafka).",
            pattern=r"[A-Za-z0-9._-]*",
            pattern_doc="letters, digits, `.`, `_`, `-`",
        ),
    )
    group_prefix: str = field(
        default="soma",
        metadata=about(
            "Put before the name of every consumer group, behind `log.topic_prefix`.",
            pattern=r"[A-Za-z0-9._-]+",
            pattern_doc="letters, digits, `.`, `_`, `-`",
        ),
    )
    timeout_s: float = field(
        default=10.0,
        metadata=about("Seconds that the brokers have to answer, or to acknowledge an event (kafka).", above=0),
    )
    session_timeout_s: float = field(
        default=45.0,
        metadata=about("Seconds of silence after which a worker's partitions go to others (kafka).", above=0),
    )
    instance_id: str | None = field(
        default=None,
        metadata=about(
            "Name of this worker in its groups, unique within each; a worker that comes back under it within the "
            "session timeout gets its partitions back without a rebalance (kafka).",
            pattern=r"[A-Za-z0-9._-]+",
            pattern_doc="letters, digits, `.`, `_`, `-`",
        ),
    )
    compaction_lag_s: float = field(
        default=7 * 86400.0,
        metadata=about(
            "Seconds that every event of `memory.events` is kept before a newer one of its memory may replace it "
            "(kafka).",
            above=0,
        ),
    )
    security: SecuritySettings = field(default_factory=SecuritySettings)


@dataclass(frozen=True, slots=True)
class StoreSettings:
    kind: Literal["sqlite", "postgres"] = field(
        default="sqlite",
        metadata=about("Where current state and journal are kept; `postgres` is what the cluster profile takes."),
    )
    dsn: str | None = field(default=None, repr=False, metadata=about("Connection string (postgres).", secret_part=True))
    timeout_s: float = field(
        default=10.0, metadata=about("Seconds that connecting may take, and waiting for a lock (postgres).", above=0)
    )
    pool_size: int = field(
        default=4, metadata=about("Most connections of one process that uses the library (postgres).", minimum=1)
    )


@dataclass(frozen=True, slots=True)
class IndexSettings:
    kind: Literal["qdrant_edge", "qdrant"] = field(
        default="qdrant_edge", metadata=about("The search index; `qdrant` is what the cluster profile takes.")
    )
    url: str | None = field(default=None, repr=False, metadata=address("Address of the server (qdrant)."))
    api_key: str | None = field(
        default=None, repr=False, metadata=about("API key of the server (qdrant).", secret=True)
    )
    timeout_s: float = field(default=10.0, metadata=about("Seconds that a request may take (qdrant).", above=0))
    collection: str = field(
        default="memories",
        metadata=about(
            "Name of the collection.",
            pattern=r"[A-Za-z0-9_][A-Za-z0-9._-]*",
            pattern_doc="letters, digits, `_`, and after the first also `.`, `-`",
        ),
    )
    language: str = field(
        default="english",
        metadata=about("Language of the texts, for stemming and stop words.", pattern=r"\S+", pattern_doc="a word"),
    )
    dimension: int | None = field(
        default=None,
        metadata=about(
            "Length of the dense vectors; null means the embedder's, or that of the first vector.", minimum=1
        ),
    )
    model_revision: str | None = field(
        default=None, metadata=about("Model revision that the index's dense vectors were made with.")
    )
    text_pointers: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "JSON pointers (RFC 6901) into the payload whose strings are the text of a memory; "
            "empty means `text` if that is a string, else all strings in sorted key order.",
            pattern=r"(/([^~/]|~[01])*)*",
            pattern_doc="JSON pointers such as `/title`",
        ),
    )


@dataclass(frozen=True, slots=True)
class CacheSettings:
    kind: Literal["none", "redis"] = field(
        default="none", metadata=about("A cache in front of the store; `redis` is what the cluster profile takes.")
    )
    url: str | None = field(default=None, repr=False, metadata=address("Address of the server (redis)."))
    ttl_s: float = field(default=300.0, metadata=about("Seconds that an entry lives (redis).", above=0))
    prefix: str = field(
        default="soma:",
        metadata=about(
            "Put before every key, so that several installations can share a server (redis).",
            pattern=r"\S*",
            pattern_doc="no spaces",
        ),
    )
    timeout_s: float = field(
        default=0.5, metadata=about("Seconds that the cache has to answer before it is left out (redis).", above=0)
    )


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    kind: Literal["none", "fastembed", "openai_http"] = field(
        default="none",
        metadata=about(
            "What turns texts into dense vectors; with `none`, search is lexical. `fastembed` is not in this version."
        ),
    )
    via: Literal["direct", "topics"] = field(
        default="direct",
        metadata=about(
            "Whether `consume vector` embeds by itself, or asks `consume embed` through `embedding.requests` (kafka)."
        ),
    )
    model: str | None = field(default=None, metadata=about("Name of the model, as the embedder knows it."))
    url: str | None = field(
        default=None, repr=False, metadata=address("Address of an OpenAI-compatible service (openai_http).")
    )
    api_key: str | None = field(
        default=None, repr=False, metadata=about("API key of the service (openai_http).", secret=True)
    )
    dimension: int | None = field(
        default=None, metadata=about("Length of the vectors; null means as the model returns them.", minimum=1)
    )
    batch_size: int = field(default=64, metadata=about("Texts per request.", minimum=1))
    timeout_s: float = field(default=30.0, metadata=about("Seconds that a request may take.", above=0))


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    kind: Literal["files", "confluent_http"] = field(
        default="files",
        metadata=about("Where the schemas are registered; `confluent_http` is what the cluster profile takes."),
    )
    folder: Path | None = field(
        default=None,
        metadata=about(
            "Folder of the schemas and, with `files`, of their versions; null means `./schemas` where there is one, "
            "else what ships with soma."
        ),
    )
    url: str | None = field(
        default=None,
        repr=False,
        metadata=address("Address of the registry's API as Confluent's has it (confluent_http)."),
    )
    username: str | None = field(default=None, metadata=about("User name (confluent_http)."))
    password: str | None = field(default=None, repr=False, metadata=about("Password (confluent_http).", secret=True))
    token: str | None = field(
        default=None, repr=False, metadata=about("Bearer token, in place of user name and password.", secret=True)
    )
    ca_file: Path | None = field(
        default=None, metadata=about("PEM file of the authorities to trust; null means those of the system.")
    )
    cert_file: Path | None = field(default=None, metadata=about("PEM file of the client's certificate."))
    key_file: Path | None = field(
        default=None, metadata=about("PEM file of the client's private key; null means that of `cert_file`.")
    )
    timeout_s: float = field(default=10.0, metadata=about("Seconds that a request may take (confluent_http).", above=0))
    validate: Literal["none", "latest"] = field(
        default="none",
        metadata=about(
            "Whether producers check events against the registry's latest `memory.event` too; what ships with soma "
            "always holds."
        ),
    )
    refresh_s: float = field(
        default=60.0,
        metadata=about(
            "Seconds that a producer goes by its copy of the registry's schema before it asks again.", above=0
        ),
    )


@dataclass(frozen=True, slots=True)
class ConnectSettings:
    url: str | None = field(
        default=None,
        repr=False,
        metadata=address("Address of Kafka Connect's REST interface; with `user:password@` where it asks for them."),
    )
    connector: str = field(
        default="memory-landing",
        metadata=about(
            "Name of the connector that lands events; its consumer group is `connect-` and this name.",
            pattern=r"[A-Za-z0-9._-]+",
            pattern_doc="letters, digits, `.`, `_`, `-`",
        ),
    )
    store_dsn: str | None = field(
        default=None,
        repr=False,
        metadata=about("The store as Connect reaches it; null means `store.dsn`.", secret_part=True),
    )
    applied: Literal["delete", "keep"] = field(
        default="delete", metadata=about("What becomes of landed rows once `consume landing` has applied them.")
    )
    stall_s: float = field(
        default=30.0,
        metadata=about(
            "Seconds that nothing may land of what the log holds before `consume landing` reads the log instead.",
            above=0,
        ),
    )
    timeout_s: float = field(default=10.0, metadata=about("Seconds that a request to Connect may take.", above=0))


@dataclass(frozen=True, slots=True)
class WeightSettings:
    """None means "as the policy says". Negative weights are allowed."""

    age: float | None = field(default=None, metadata=about("Weight of the age; null means the policy's."))
    recency: float | None = field(default=None, metadata=about("Weight of a recent access; null means the policy's."))
    access: float | None = field(default=None, metadata=about("Weight of frequent access; null means the policy's."))
    importance: float | None = field(default=None, metadata=about("Weight of the importance; null means the policy's."))


@dataclass(frozen=True, slots=True)
class ScoringSettings:
    policy: Literal["roadmap", "retain"] = field(
        default="roadmap", metadata=about("Policy that `prune` and `score` start from.")
    )
    weights: WeightSettings = field(default_factory=WeightSettings)
    threshold: float | None = field(
        default=None,
        metadata=about("A memory with a score above this is selected by `prune`; null means the policy's."),
    )


@dataclass(frozen=True, slots=True)
class LimitSettings:
    event_bytes: int = field(
        default=1_000_000, metadata=about("Largest event that a producer appends, in bytes of JSON.", minimum=1)
    )
    future_s: float = field(
        default=300.0,
        metadata=about("Seconds that an event's timestamp may lie ahead of the producer's clock.", minimum=0),
    )


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    batch_size: int = field(default=500, metadata=about("Most records that a worker takes at once.", minimum=1))
    kv_batch_size: int = field(
        default=1000, metadata=about("The same for kv, which applies them in one transaction.", minimum=1)
    )
    poll_interval_s: float = field(default=0.05, metadata=about("Seconds between two looks at an idle log.", above=0))
    max_rejects_in_a_row: int = field(
        default=50,
        metadata=about(
            "Rejected records in a row that stop a worker, because then the fault lies elsewhere.", minimum=1
        ),
    )
    backoff_initial_s: float = field(
        default=0.1, metadata=about("Seconds before the first retry of a transient failure.", above=0)
    )
    backoff_max_s: float = field(
        default=30.0, metadata=about("Longest pause between two retries, in seconds.", above=0)
    )
    drain_timeout_s: float = field(
        default=10.0, metadata=about("Seconds that a worker has to finish after SIGTERM or Ctrl-C.", above=0)
    )
    metrics_host: str = field(
        default="127.0.0.1",
        metadata=about(
            "Address that `--metrics-port` serves metrics and health on.", pattern=r"\S+", pattern_doc="a host"
        ),
    )
    log_interval_s: float = field(
        default=10.0, metadata=about("Seconds between two progress lines of a worker.", above=0)
    )


@dataclass(frozen=True, slots=True)
class Settings:
    profile: str = field(
        default="embedded",
        metadata=about(
            "The profile in force: `embedded`, `cluster`, or one of the file's `profiles`.",
            pattern=r"\S+",
            pattern_doc="the name of a profile",
        ),
    )
    data_dir: Path = field(
        default_factory=default_data_dir,
        metadata=about(
            "Folder of everything that soma keeps on this machine; null means the user's data folder "
            "(`$XDG_DATA_HOME/soma`, `~/.local/share/soma`).",
            null_is_default=True,
        ),
    )
    log: LogSettings = field(default_factory=LogSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    embedder: EmbedderSettings = field(default_factory=EmbedderSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    connect: ConnectSettings = field(default_factory=ConnectSettings)
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
