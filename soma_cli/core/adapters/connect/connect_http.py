"""Kafka Connect's REST interface. httpx is imported at the first request."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import orjson

from soma_cli.core.adapters.bounded_http import UNCOMPRESSED, Slow, Unwelcome, answer_of
from soma_cli.core.adapters.connect.connect_errors import Absent, ConnectErrors
from soma_cli.core.adapters.http_address import is_loopback
from soma_cli.core.errors import ServiceUnavailable
from soma_cli.core.settings import ConnectSettings
from soma_cli.core.settings_catalogue import without_password

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
STOPPED = "STOPPED"
_LOOK_EVERY_S = 0.2
_SETTLE_S = 60.0
"""How long Connect has to stop a connector, or to give its work out anew. A group's own time-outs take as long."""


class ConnectHttp:
    """One Connect cluster, by the address of any of its workers. Not for several threads."""

    def __init__(self, settings: ConnectSettings) -> None:
        self._url = (settings.url or "").rstrip("/")
        self._timeout_s = settings.timeout_s
        self.where = without_password(self._url)
        self._errors = ConnectErrors(self.where, self._url)
        self._client: httpx.Client | None = None

    def version(self) -> str:
        """Raises ConfigurationError where something else than Connect answers."""
        root = self._look("/")
        if not isinstance(root, dict) or "kafka_cluster_id" not in root:
            raise self._errors.stranger("with JSON that is not Connect's")
        return str(root.get("version"))

    def plugins(self) -> set[str]:
        """The class names of connectors, transformations and converters that it can load."""
        found = self._look("/connector-plugins?connectorsOnly=false")
        return {str(self._expect(dict, one).get("class")) for one in self._expect(list, found)}

    def config(self, connector: str) -> dict[str, str] | None:
        """None where there is no such connector."""
        try:
            found = self._look(f"{_path(connector)}/config")
        except Absent:
            return None
        return {key: str(value) for key, value in self._expect(dict, found).items()}

    def make(self, connector: str, config: Mapping[str, str]) -> None:
        """Make the connector: stopped, where Connect can do that. Raises ConfigurationError where it refuses."""
        if not _can_make_stopped(self.version()):
            self.change(connector, config)
            return
        body = {"name": connector, "config": dict(config), "initial_state": STOPPED}
        self._settling(lambda: self._ask("POST", "/connectors", body))

    def change(self, connector: str, config: Mapping[str, str]) -> None:
        """Give a connector another configuration. Raises ConfigurationError where Connect refuses it."""
        self._settling(lambda: self._ask("PUT", f"{_path(connector)}/config", dict(config)))

    def status(self, connector: str) -> dict[str, Any] | None:
        """As Connect tells it: {"connector": {"state"...}, "tasks": [{"id", "state", "trace"...}]}."""
        try:
            answer = self._look(f"{_path(connector)}/status")
        except Absent:
            return None
        found: dict[str, Any] = self._expect(dict, answer)
        tasks = [self._expect(dict, task) for task in self._expect(list, found.get("tasks"))]
        for one in (self._expect(dict, found.get("connector")), *tasks):
            self._expect(str, one.get("state"))
            self._expect(str, one.get("trace") or "")
        for task in tasks:
            self._expect(int, task.get("id"))
        return found

    def stop(self, connector: str) -> None:
        """End its tasks, and keep it from starting until `start_at`."""
        self._settling(lambda: self._ask("PUT", f"{_path(connector)}/stop"))
        self._settling(lambda: self._stopped(connector))

    def start_at(self, connector: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Start a stopped connector with the given offsets (next to read), by partition, whatever it had committed."""
        body = {
            "offsets": [
                {
                    "partition": {"kafka_topic": topic, "kafka_partition": partition},
                    "offset": {"kafka_offset": offset},
                }
                for partition, offset in offsets.items()
            ]
        }
        self._settling(lambda: self._ask("PATCH", f"{_path(connector)}/offsets", body))
        self._settling(lambda: self._ask("PUT", f"{_path(connector)}/resume"))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _stopped(self, connector: str) -> None:
        status = self.status(connector) or {}
        if status.get("connector", {}).get("state") != STOPPED or status.get("tasks"):
            raise self._errors.unsettled(f"the connector {connector} has not stopped")

    def _look(self, path: str) -> Any:
        """The answer. While Connect gives its work out anew, which mostly takes moments, it answers nothing; it is
        asked again for as long as one answer may take."""
        within_s, deadline = self._timeout_s, time.monotonic() + self._timeout_s
        while True:
            try:
                return self._ask("GET", path, within_s=within_s)
            except ServiceUnavailable as error:
                within_s = deadline - time.monotonic() - _LOOK_EVERY_S
                if error.code != "connect_busy" or within_s <= 0:
                    raise
            time.sleep(_LOOK_EVERY_S)

    def _settling(self, action: Callable[[], object]) -> None:
        """Tried again while Connect is about to give its work out anew; raises the last refusal after a minute."""
        deadline = time.monotonic() + _SETTLE_S
        while True:
            try:
                action()
                return
            except Absent as error:  # just made, and not heard of by this worker yet
                if time.monotonic() >= deadline:
                    raise self._errors.unsettled("it does not know the connector") from error
            except ServiceUnavailable as error:
                if error.code != "connect_busy" or time.monotonic() >= deadline:
                    raise
            time.sleep(_LOOK_EVERY_S)

    def _ask(self, method: str, path: str, body: object = None, within_s: float | None = None) -> Any:
        """The answer's JSON, None where it is empty."""
        import httpx

        content = None if body is None else orjson.dumps(body)
        try:
            answer = answer_of(self._open(), method, self._url + path, content, within_s or self._timeout_s)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise self._errors.unusable(error) from error
        except Unwelcome as error:
            raise self._errors.stranger(str(error)) from error
        except (Slow, httpx.HTTPError) as error:
            raise self._errors.away(error, self._timeout_s) from error
        try:
            said = orjson.loads(answer.content) if answer.content.strip() else None
        except ValueError as error:
            raise self._errors.no_json(answer.status, answer.kind) from error
        if answer.is_success:
            return said
        raise self._errors.refused(answer.status, said)

    def _open(self) -> httpx.Client:
        import httpx

        if self._client is None:
            headers = {"User-Agent": "soma", "Content-Type": "application/json", **UNCOMPRESSED}
            try:
                self._client = httpx.Client(trust_env=not is_loopback(self._url), headers=headers)
            except (ImportError, ValueError) as error:  # httpx's words for a proxy that it cannot use
                raise self._errors.unusable(error) from error
        return self._client

    def _expect(self, kind: type[T], answer: object) -> T:
        if not isinstance(answer, kind):
            raise self._errors.stranger("with JSON that is not Connect's")
        return answer


def _path(connector: str) -> str:
    return f"/connectors/{quote(connector, safe='')}"


def _can_make_stopped(version: str) -> bool:
    """Since 3.7; a version that cannot be read is a new one."""
    return (found := re.match(r"(\d+)\.(\d+)", version)) is None or (int(found[1]), int(found[2])) >= (3, 7)
