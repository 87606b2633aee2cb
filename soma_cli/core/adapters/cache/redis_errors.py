"""What redis-py raises, in soma's words. The one place where its errors are translated."""

from __future__ import annotations

from redis import exceptions

from soma_cli.core.errors import ConfigurationError, OutOfSpace, ServiceUnavailable, SomaError
from soma_cli.core.settings import CacheSettings
from soma_cli.core.settings_catalogue import without_password

CLIENT_ERRORS = (exceptions.RedisError, OSError, ValueError, TypeError)
"""Everything that a call of the client may raise: an address or option that it cannot use ends in the last two."""

_CLUSTER = (exceptions.ClusterError, exceptions.AskError, exceptions.TryAgainError, exceptions.ClusterCrossSlotError)
_RIGHTS = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


def is_away(error: Exception) -> bool:
    """Whether the connection failed, so that the next call would fare no better; not whether a command was refused."""
    away = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.InvalidResponse, OSError)
    return isinstance(error, away)


def translated(error: Exception, settings: CacheSettings) -> SomaError:
    """The error of the tree that says the same. The password of `cache.url` is in none of them."""
    where = f"the cache at {without_password(settings.url or '')}"
    said = " ".join(str(error).split())[:200]
    return _misconfigured(error, where, said) or _unavailable(error, where, said, settings.timeout_s)


def _misconfigured(error: Exception, where: str, said: str) -> ConfigurationError | None:
    if isinstance(error, _RIGHTS):
        return ConfigurationError(
            f"{where} refuses the user or the password: {said}",
            hint="put into cache.url a user and a password that may GET, SET, MGET, EVAL and EVALSHA",
        )
    if isinstance(error, _CLUSTER) or "cluster support disabled" in said:
        return ConfigurationError(
            f"{where} is a node of a Redis Cluster, which cannot serve as cache: {said}",
            hint="set cache.url to a single primary",
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return ConfigurationError(
            f"{where} has a certificate that is not trusted: {said}",
            hint="name the authority's file in cache.url: rediss://...?ssl_ca_certs=/path/ca.pem",
        )
    if isinstance(error, exceptions.InvalidResponse):
        return ConfigurationError(f"{where} does not answer as Redis does: {said}", hint="check cache.url")
    if isinstance(error, ValueError | TypeError) and not isinstance(error, OSError):
        return ConfigurationError(
            f"{where} cannot be asked: {said}", hint="write cache.url as redis://user:password@host:port/database"
        )
    if said.startswith(("DB index", "invalid DB index", "unknown command")):
        return ConfigurationError(f"{where} refuses a command: {said}", hint="check cache.url, its database too")
    return None


def _unavailable(error: Exception, where: str, said: str, timeout_s: float) -> ServiceUnavailable:
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return ServiceUnavailable(
            f"{where} did not answer within {timeout_s:g} s", hint="see whether it hangs, or raise cache.timeout_s"
        )
    if isinstance(error, exceptions.BusyLoadingError):
        return ServiceUnavailable(f"{where} is still loading its data", hint="wait until it has")
    if isinstance(error, exceptions.ReadOnlyError) or "READONLY" in said:
        return ServiceUnavailable(f"{where} is a replica and takes no writes", hint="set cache.url to the primary")
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM command not allowed" in said:
        return OutOfSpace(
            f"{where} has no memory left for new entries",
            hint="raise its maxmemory, or set its maxmemory-policy to volatile-ttl or allkeys-lru",
        )
    if isinstance(error, exceptions.ResponseError):
        return ServiceUnavailable(f"{where} refuses a command: {said}", hint="see the server's log")
    return ServiceUnavailable(
        f"{where} cannot be reached: {said or type(error).__name__}", hint="start it, or check cache.url"
    )


def is_demoted(error: Exception) -> bool:
    """Whether the server was the primary once, maybe, and is a replica now."""
    return isinstance(error, exceptions.ReadOnlyError) or "READONLY" in str(error)
