"""What a Redis server says of itself, as findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soma_cli.core.results import Finding

NEARLY_FULL = 0.8
"""From this share of maxmemory on, a server that evicts nothing will soon refuse to write."""


def findings_of(info: Mapping[str, Any], where: str) -> list[Finding]:
    """Of the answer to INFO: reachable and which version, its memory, its role."""
    version = info.get("redis_version", "of unknown version")
    return [Finding("cache", "ok", f"{where} answers (Redis {version})"), _memory(info), _role(info)]


def _memory(info: Mapping[str, Any]) -> Finding:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy = str(info.get("maxmemory_policy", "unknown"))
    if not limit:
        return Finding("cache memory", "ok", f"{used / 1e6:,.1f} MB used, no limit set ({policy})")
    message = f"{used / 1e6:,.1f} of {limit / 1e6:,.1f} MB used ({policy})"
    if policy == "noeviction" and used >= NEARLY_FULL * limit:
        hint = "raise its maxmemory, or set its maxmemory-policy to volatile-ttl or allkeys-lru"
        return Finding("cache memory", "warning", f"{message}: when it is full, nothing more is cached", hint)
    return Finding("cache memory", "ok", message)


def _role(info: Mapping[str, Any]) -> Finding:
    role = str(info.get("role", "unknown"))
    if role in ("slave", "replica"):
        hint = "set cache.url to the primary"
        return Finding("cache role", "warning", "the server is a replica: nothing can be cached through it", hint)
    return Finding("cache role", "ok", f"the server is a {'primary' if role == 'master' else role}")
