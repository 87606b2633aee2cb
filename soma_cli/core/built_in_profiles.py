"""The profiles that need no file, as settings by their dotted keys."""

from __future__ import annotations

from collections.abc import Mapping

BUILT_IN_PROFILES: Mapping[str, Mapping[str, object]] = {
    "embedded": {
        "log.kind": "sqlite",
        "store.kind": "sqlite",
        "index.kind": "qdrant_edge",
        "cache.kind": "none",
        "registry.kind": "files",
    },
    "cluster": {
        "log.kind": "kafka",
        "log.bootstrap_servers": "localhost:9092",
        "store.kind": "postgres",
        "store.dsn": "postgresql://localhost:5432/soma",
        "index.kind": "qdrant",
        "index.url": "http://localhost:6333",
        "cache.kind": "redis",
        "cache.url": "redis://localhost:6379/0",
        "registry.kind": "confluent_http",
        "registry.url": "http://localhost:8081",
        "connect.url": "http://localhost:8083",
    },
}
