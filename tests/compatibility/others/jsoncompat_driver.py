"""jsoncompat, which speaks draft 2020-12: keywords that have other names there are renamed first."""

import json
import signal
import sys
from typing import Any

import jsoncompat  # type: ignore[import-not-found]


def renamed(schema: Any) -> Any:
    """The same schema in draft 2020-12."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {key: below(key, value) for key, value in schema.items() if key in ("$ref", "definitions")}
    made = {key: below(key, value) for key, value in schema.items() if key not in ("$schema", "dependencies")}
    if isinstance(made.get("items"), list):
        made["prefixItems"] = made.pop("items")
        if "additionalItems" in made:
            made["items"] = made.pop("additionalItems")
    for name, needed in schema.get("dependencies", {}).items():
        key = "dependentRequired" if isinstance(needed, list) else "dependentSchemas"
        made.setdefault(key, {})[name] = needed if isinstance(needed, list) else renamed(needed)
    return made


def below(key: str, value: Any) -> Any:
    if key in ("const", "enum", "default", "examples"):
        return value
    if key in ("properties", "patternProperties", "definitions"):
        return {name: renamed(one) for name, one in value.items()}
    return [renamed(one) for one in value] if isinstance(value, list) else renamed(value)


def late(*_: Any) -> None:
    raise TimeoutError


signal.signal(signal.SIGPROF, late)
for line in sys.stdin:
    pair = json.loads(line)
    signal.setitimer(signal.ITIMER_PROF, 4)
    try:
        old, new = (json.dumps(renamed(pair[side])) for side in ("writer", "reader"))
        answer = json.dumps(jsoncompat.check_compat(old, new, "deserializer"))
    except BaseException as error:  # noqa: BLE001 - whatever it raises, it gave no answer
        answer = f"null {type(error).__name__}"
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(answer, flush=True)
