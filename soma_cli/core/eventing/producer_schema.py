"""Producers that also keep to the schema that the registry has: its latest version, asked for now and then.

A copy in memory, and one in a file for the processes that come after, go on where the registry is away, does not let
soma in, or is not what answers: what was good a minute ago is no reason to stop writing. What a copy
refuses is asked about once more before it is refused, so that nobody waits for a new version to arrive.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from soma_cli.core.errors import ConfigurationError, EventRejected, InputRejected, ServiceUnavailable
from soma_cli.core.event import MemoryEvent
from soma_cli.core.ports import RegisteredSchema, SchemaRegistry
from soma_cli.core.record import Headers
from soma_cli.core.serialization import deserialize, json_pointer

if TYPE_CHECKING:
    from jsonschema_rs import Draft7Validator

ID_HEADER, VERSION_HEADER = "soma-schema-id", "soma-schema-version"
"""Headers of a record whose event was checked: the registry's number of the schema, where it has one, and the version
of the subject, both in decimal digits."""

DOUBT_S = 1.0
"""A copy that is younger is believed also where it refuses an event: many bad events are not many questions."""

logger = logging.getLogger("soma")

CheckSchema = Callable[[MemoryEvent], Headers]
"""Headers for a record of the event. Raises EventRejected, ServiceUnavailable, ConfigurationError."""


def unchecked(event: MemoryEvent) -> Headers:
    """For producers that were told of no registry."""
    return ()


class Copy(NamedTuple):
    """A schema and when the registry was last asked for it, in seconds since the epoch."""

    schema: RegisteredSchema
    asked_at: float


class CopyKeeper(Protocol):
    """Keeps the copy for the next process. Neither method ever fails: without a copy, the registry is asked."""

    def recall(self) -> Copy | None: ...

    def keep(self, copy: Copy) -> None: ...


class ProducerSchema:
    """Checks events against the latest version of a subject. Safe between threads.

    `refresh_s` is for how long a copy is believed. Until an event is checked, nothing is asked.
    """

    def __init__(
        self, registry: Callable[[], SchemaRegistry], subject: str, refresh_s: float, keeper: CopyKeeper
    ) -> None:
        self._registry, self._subject = registry, subject
        self._refresh_s, self._keeper = refresh_s, keeper
        self._held: _Held | None = None
        self._guard = threading.Lock()

    def __call__(self, event: MemoryEvent) -> Headers:
        """The headers that name the version. Raises EventRejected with pointer and version where it does not fit;
        ServiceUnavailable and ConfigurationError where the registry gives none and there is no copy, ConfigurationError
        where it has none that can be used."""
        document = deserialize(event.value)
        held = self._of_age(self._refresh_s)
        if not held.accepts(document):
            held = self._of_age(min(DOUBT_S, self._refresh_s))
        held.check(document)
        return held.headers

    def _of_age(self, limit_s: float) -> _Held:
        """The copy, where it is no older than that; else what the registry says."""
        with self._guard:
            if self._held is None and (copy := self._keeper.recall()) is not None:
                self._held = _Held(copy)
            if self._held is None or not 0 <= time.time() - self._held.asked_at < limit_s:
                return self._asked()
            return self._held

    def _asked(self) -> _Held:
        """The registry's latest; the copy again, which is believed for another while, where it gives none."""
        registry, known = self._registry(), self._held
        try:
            latest = registry.latest(self._subject)
        except (ServiceUnavailable, ConfigurationError) as error:
            if known is None:
                raise _without_a_copy(error) from error
            logger.warning("%s; going by the copy of %s; %s", error.message, known.shown, error.hint)
            latest = known.schema
        if latest is None:
            raise ConfigurationError(
                f"{self._subject} is not in the schema registry {registry.where()}, and registry.validate asks for it",
                hint="register it with `soma schema register`, or set registry.validate to none",
                code="schema_not_registered",
            )
        copy = Copy(latest, time.time())
        self._keeper.keep(copy)
        self._held = _Held(copy) if known is None or known.schema != latest else known.again(copy.asked_at)
        return self._held


class _Held:
    """A copy, ready to check with."""

    def __init__(self, copy: Copy, validator: Draft7Validator | None = None) -> None:
        self.schema, self.asked_at = copy
        self._validator = validator or _compiled(copy.schema)
        id, version = copy.schema.id, copy.schema.version
        numbers = ((ID_HEADER, id), (VERSION_HEADER, version))
        self.headers: Headers = tuple((name, str(number).encode()) for name, number in numbers if number is not None)

    @property
    def shown(self) -> str:
        return _shown(self.schema)

    def again(self, asked_at: float) -> _Held:
        return _Held(Copy(self.schema, asked_at), self._validator)

    def accepts(self, document: object) -> bool:
        return self._validator.is_valid(document)

    def check(self, document: object) -> None:
        from jsonschema_rs import ValidationError

        try:
            self._validator.validate(document)
        except ValidationError as error:
            where = json_pointer(error.instance_path)
            message = error.message if len(error.message) <= 300 else f"{error.message[:300]}..."
            raise EventRejected(
                f"the event does not match {self.shown}: {message}" + (f" (at {where})" if where else ""),
                pointer=where,
                hint="change the event; that version is the latest in the registry, which registry.validate asks for",
                code="registry_schema",
                details={"subject": self.schema.subject, "schema_version": self.schema.version},
            ) from None


def _compiled(schema: RegisteredSchema) -> Draft7Validator:
    from soma_cli.core.compatibility import refused_schema
    from soma_cli.core.compatibility.validation import validator

    try:
        document = json.loads(schema.text)
        refused_schema(document)
        return validator(document)
    except (ValueError, RecursionError, InputRejected) as error:
        raise ConfigurationError(
            f"no event can be checked with {_shown(schema)}: {error}",
            hint="register a version that is a JSON Schema of draft-07, or set registry.validate to none",
            code="registry_schema_unusable",
        ) from error


def _shown(schema: RegisteredSchema) -> str:
    return f"version {schema.version} of {schema.subject}"


def _without_a_copy(error: ServiceUnavailable | ConfigurationError) -> ServiceUnavailable | ConfigurationError:
    return type(error)(
        f"{error.message}; there is no copy of the schema here yet",
        hint=f"{error.hint}; or set registry.validate to none",
        code=error.code,
        details=error.details,
    )
