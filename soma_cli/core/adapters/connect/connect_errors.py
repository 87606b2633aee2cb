"""What Kafka Connect says, or does not say, in soma's words."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from soma_cli.core.errors import ConfigurationError, ServiceUnavailable, SomaError
from soma_cli.core.settings_catalogue import HIDDEN

_REBALANCING, _SERVER, _LOGIN, _ABSENT = 409, 500, (401, 403), 404
_LONGEST = 1000
_NOT_YET = ("must be in the STOPPED state", "no tasks", "still", "rebalance", "group is not empty")


class Absent(Exception):
    """There is no such thing; Connect itself says so."""


class ConnectErrors:
    """`where` is the address without a password, `url` with it: it is left out of what the server says."""

    def __init__(self, where: str, url: str) -> None:
        self._where = where
        self._secrets = _secrets(url)

    def away(self, error: Exception, timeout_s: float) -> ServiceUnavailable:
        said = self._clean(str(error)) or f"no answer within {timeout_s:g} s"
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
            f"`connect.url` is no address that can be asked: {self._clean(str(error))}",
            hint="write http://host:8083",
            code="connect_url",
        )

    def stranger(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"what answers at {self._where} is not Kafka Connect's REST interface: it answers {what}",
            hint="check `connect.url`; Connect listens on port 8083 unless told otherwise",
            code="connect_url",
        )

    def no_json(self, status: int, kind: str) -> SomaError:
        if status >= _SERVER:
            return self._failed(status, self._clean(kind) or "nothing")
        if status in _LOGIN:
            return self._login(status)
        return self.stranger(f"with status {status} and {kind or 'no type'}")

    def refused(self, status: int, said: object) -> SomaError | Absent:
        message = self._clean(str(said.get("message", ""))) if isinstance(said, dict) else ""
        if status == _ABSENT and isinstance(said, dict) and said.get("error_code") == _ABSENT:
            return Absent(message)
        if status in _LOGIN:
            return self._login(status)
        if status == _REBALANCING or any(part in message for part in _NOT_YET):
            return self.unsettled(message or "it gives its work out anew")
        if status >= _SERVER:
            return self._failed(status, message)
        if not message:
            return self.stranger(f"with status {status}")
        return ConfigurationError(
            f"Kafka Connect at {self._where} refuses: {message}",
            hint="mend what it names, in the settings or in the connector's file",
            code="connect_refused",
        )

    def _clean(self, text: str) -> str:
        """On one line, and of a length to be read."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:_LONGEST]

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


def _secrets(url: str) -> set[str]:
    """The password in it, as it is written there and as it is meant."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
