"""Cases put to a driver or to a registry; the answers that come back."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from tests.compatibility.pair import Case
from tests.compatibility.score import Answer

_PATIENCE_S = 90
_DRAFT = "http://json-schema.org/draft-07/schema#"


def asked(command: Sequence[str], cases: Sequence[Case], folder: str | None = None) -> Iterator[Answer]:
    """Speak to a driver. One that says nothing for a while or dies leaves its case open and is started again."""
    driver = _Driver(command, folder)
    for case in cases:
        said = driver.say(json.dumps({"writer": case.writer, "reader": case.reader}))
        if said is None:
            driver.stop()
            driver = _Driver(command, folder)
        yield Answer(case, {"true": True, "false": False}.get(said or ""))
    driver.stop()


class _Driver:
    def __init__(self, command: Sequence[str], folder: str | None) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder
        )

    def say(self, line: str) -> str | None:
        """What it answers, or None."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        ready, _, _ = select.select([self._process.stdout], [], [], _PATIENCE_S)
        return self._process.stdout.readline().strip() or None if ready else None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def apicurio(address: str, cases: Sequence[Case]) -> Iterator[Answer]:
    """Ask the registry: the writer's schema is registered, then the reader's is put to its check of BACKWARD."""
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        for number, case in enumerate(cases):
            yield Answer(case, _opinion(client, f"pair-{number}", case))


def _opinion(client: httpx.Client, subject: str, case: Case) -> bool | None:
    versions = f"/subjects/{subject}/versions"
    if client.post(versions, json=_body(case.writer)).is_error:
        return None
    client.put(f"/config/{subject}", json={"compatibility": "BACKWARD"}).raise_for_status()
    reply = client.post(f"/compatibility{versions}/latest", json=_body(case.reader))
    return None if reply.is_error else bool(reply.json()["is_compatible"])


def _body(schema: Any) -> dict[str, str]:
    """It wants an object that names its draft."""
    spelt: dict[str, Any] = {} if schema is True else {"not": {}} if schema is False else schema
    return {"schemaType": "JSON", "schema": json.dumps({"$schema": _DRAFT} | spelt)}
