"""What Kafka Connect says, or does not say, in soma's words."""

from __future__ import annotations

from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, SomaError

_REBALANCING, _SERVER, _LOGIN, _ABSENT = 409, 500, (401, 403), 404
_NOT_YET = ("must be in the STOPPED state", "no tasks", "still", "rebalance", "group is not empty")


class Absent(Exception):
    """There is no such thing; Connect itself says so."""


class ConnectErrors:
    """`where` is the address without a password."""

    def __init__(self, where: str) -> None:
        self._where = where

    def away(self, error: Exception, timeout_s: float) -> ServiceUnavailable:
        said = str(error) or f"no answer within {timeout_s:g} s"
        return ServiceUnavailable(
            f"Kafka Connect at {self._where} cannot be reached: {said}",
            hint="is it running, and is `connect.url` its address?",
            code="connect_unavailable",
        )

    def unsettled(self, what: str) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"Kafka Connect at {self._where} is not ready: {what}", hint="try again in a minute", code="connect_busy"
        )

    def unusable(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"`connect.url` is no address that can be asked: {error}",
            hint="write http://host:8083",
            code="connect_url",
        )

    def stranger(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"what answers at {self._where} is not Kafka Connect's REST interface: it answers with {what}",
            hint="check `connect.url`; Connect listens on port 8083 unless told otherwise",
            code="connect_url",
        )

    def no_json(self, status: int, kind: str) -> SomaError:
        if status >= _SERVER:
            return self._failed(status, kind or "nothing")
        if status in _LOGIN:
            return self._login(status)
        return self.stranger(f"status {status} and {kind or 'no type'}")

    def refused(self, status: int, said: object) -> SomaError | Absent:
        message = str(said.get("message", "")) if isinstance(said, dict) else ""
        if status == _ABSENT and isinstance(said, dict) and said.get("error_code") == _ABSENT:
            return Absent(message)
        if status in _LOGIN:
            return self._login(status)
        if status == _REBALANCING or any(part in message for part in _NOT_YET):
            return self.unsettled(message or "it gives its work out anew")
        if status >= _SERVER:
            return self._failed(status, message)
        if not message:
            return self.stranger(f"status {status}")
        return ConfigurationError(
            f"Kafka Connect at {self._where} refuses: {message}",
            hint="mend what it names, in the settings or in the connector's file",
            code="connect_refused",
        )

    def _failed(self, status: int, message: str) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"Kafka Connect at {self._where} failed with status {status}: {message}",
            hint="its own log says why; try again",
            code="connect_unavailable",
        )

    def _login(self, status: int) -> ConfigurationError:
        return ConfigurationError(
            f"Kafka Connect at {self._where} lets nobody in like this (status {status})",
            hint="write user and password into `connect.url`: http://user:password@host:8083",
            code="connect_login",
        )
