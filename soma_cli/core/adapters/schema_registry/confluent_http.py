"""A registry that speaks Confluent's HTTP API: Apicurio (under /apis/ccompat/v7), Karapace, Confluent's own.

What the three do differently is settled here: an unknown subject's mode is a 404 to some and the registry's to others;
the same schema with other spaces is a new version to some, so texts are compared here before one is added.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from soma_cli.core.adapters.schema_registry.confluent_http_client import RegistryClient
from soma_cli.core.adapters.schema_registry.confluent_http_errors import Absent
from soma_cli.core.compatibility import Mode
from soma_cli.core.errors import InputRejected
from soma_cli.core.ports import Opinion, RegisteredSchema, VersionsChanged, same_schema
from soma_cli.core.settings import RegistrySettings


class ConfluentRegistry:
    """The port SchemaRegistry over HTTP. Connects at the first use. Safe between threads."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._client = RegistryClient(settings)
        self._server = self._client.server

    def where(self) -> str:
        return self._server.where

    def subjects(self) -> list[str]:
        return sorted(map(str, self._client.expect(list, self._client.get("/subjects"))))

    def versions(self, subject: str) -> list[RegisteredSchema]:
        try:
            numbers = self._client.expect(list, self._client.get(f"{_path(subject)}/versions"))
            if any(type(number) is not int for number in numbers):
                raise self._server.misconfigured(f"gives no numbers for the versions of the subject {subject}")
            return [self._version(subject, number) for number in sorted(numbers)]
        except Absent:
            return []

    def latest(self, subject: str) -> RegisteredSchema | None:
        try:
            return self._version(subject, "latest")
        except Absent:
            return None

    def register(self, subject: str, text: str, after: int | None = None) -> RegisteredSchema:
        there = self.versions(subject)
        for known in there:
            if same_schema(known.text, text):
                return known
        if after not in (None, there[-1].version if there else 0):
            raise VersionsChanged
        self._client.post(f"{_path(subject)}/versions", _json_schema(text))
        try:
            return self._registered(subject, self._client.post(_path(subject), _json_schema(text)))
        except Absent as error:
            raise self._server.misconfigured("took the schema and does not know it afterwards") from error

    def mode(self, subject: str) -> Mode:
        try:
            answer = self._client.get(f"/config/{quote(subject, safe='')}?defaultToGlobal=true")
        except Absent:
            answer = self._client.get("/config")
        return self._mode(answer)

    def set_mode(self, subject: str, mode: Mode) -> None:
        try:
            self._client.put(f"/config/{quote(subject, safe='')}", {"compatibility": mode.value})
        except Absent:
            if mode is not Mode.NONE:
                raise self._server.misconfigured(f"keeps no mode for {subject}, which it does not know yet") from None
        # To Apicurio, NONE takes the subject's own mode away, and then the registry's holds.
        if mode is Mode.NONE and (now := self.mode(subject)) is not mode:
            raise self._server.misconfigured(
                f"has the mode {now} for all subjects without one of their own, and {subject} cannot be without",
                "set the registry's own mode to NONE first",
            )

    def opinion(self, subject: str, text: str) -> Opinion | None:
        path = f"/compatibility{_path(subject)}/versions/latest?verbose=true"
        try:
            answer = self._client.expect(dict, self._client.post(path, _json_schema(text)))
        except (Absent, InputRejected):
            return None
        return Opinion(bool(answer.get("is_compatible")), [str(said) for said in answer.get("messages") or []])

    def close(self) -> None:
        self._client.close()

    def _version(self, subject: str, number: object) -> RegisteredSchema:
        fields = self._client.expect(dict, self._client.get(f"{_path(subject)}/versions/{number}"))
        found = self._registered(subject, fields)
        if (kind := fields.get("schemaType", "AVRO")) != "JSON":
            raise self._server.misconfigured(
                f"keeps {kind} under the subject {subject}, not JSON Schema", "name another subject"
            )
        return found

    def _registered(self, subject: str, answer: Any) -> RegisteredSchema:
        fields = self._client.expect(dict, answer)
        version, id, text = fields.get("version"), fields.get("id"), fields.get("schema")
        if type(version) is not int or not isinstance(text, str):
            raise self._server.misconfigured(f"gives no version and schema for the subject {subject}")
        return RegisteredSchema(subject, version, id if type(id) is int else None, text)

    def _mode(self, answer: Any) -> Mode:
        fields = self._client.expect(dict, answer)
        named = fields.get("compatibilityLevel") or fields.get("compatibility")
        try:
            return Mode(str(named))
        except ValueError as error:
            raise self._server.misconfigured(f"has a compatibility mode that soma does not know: {named}") from error


def _path(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}"


def _json_schema(text: str) -> dict[str, Any]:
    return {"schemaType": "JSON", "schema": text}
