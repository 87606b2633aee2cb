"""Writes the tables of json-shapes.md anew from results and errors: `python docs/generate_shapes.py`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from soma_cli.core import connect_results, errors, results, schema_results

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path(__file__).with_name("json-shapes.md")

COMMANDS = {
    "Receipt": "`store`, `update`, `delete`",
    "Memory": "`get`; a list of them: `list`",
    "HistoryEntry": "a list of them: `history`",
    "SearchHit": "a list of them: `search`",
    "ProduceResult": "`produce`",
    "ConsumeResult": "`consume`; a list of them: `consume all`",
    "WaitResult": "`wait`",
    "TraceResult": "`trace`",
    "LagReport": "`lag`; with `--watch`, one for each look",
    "Rebuild": "`replay --into`",
    "PrunePlan": "`prune`",
    "ScoreResult": "`score`",
    "Letter": "`dlq show`; a list of them: `dlq list`, and the plan of `dlq retry --all` and `dlq discard --all`",
    "LetterResult": "a list of them: `dlq retry`, `dlq discard`",
    "InitResult": "`init`",
    "DoctorReport": "`doctor`",
    "SchemaCheck": "`schema check`",
    "SchemaSummary": "a list of them: `schema list`",
    "RegisteredSubject": "a list of them: `schema list --registry`",
    "SchemaDiff": "`schema diff`",
    "RegisterResult": "`schema register`",
    "PromotionPlan": "`schema promote`",
    "SubjectMode": "a list of them: `schema mode`",
    "ConnectPlan": "`connect apply`",
    "ConnectStatus": "`connect status`",
}
"""The results that commands print; the others are parts of these."""

_NAMES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
    Any: "any value",
    dict: "object",
}


def results_page() -> str:
    places = (results, schema_results, connect_results)
    kinds = [kind for place in places for kind in vars(place).values() if dataclasses.is_dataclass(kind)]
    return "\n".join(line for kind in kinds for line in _section(kind))


def _section(kind: Any) -> Iterator[str]:
    yield from (f"### {kind.__name__}", "")
    if kind.__name__ in COMMANDS:
        yield from (f"Printed by {COMMANDS[kind.__name__]}.", "")
    text = inspect.cleandoc(kind.__doc__ or "")
    if not text.startswith(f"{kind.__name__}("):
        yield from (text, "")
    hints = get_type_hints(kind)
    yield from ("| field | JSON |", "|---|---|")
    for field in dataclasses.fields(kind):
        if field.name.startswith("_"):
            continue
        yield f"| `{field.name}` | {_json_type(hints[field.name])} |"
    yield ""


def _json_type(hint: Any) -> str:
    if hint in _NAMES:
        return _NAMES[hint]
    if dataclasses.is_dataclass(hint):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"  # type: ignore[union-attr]
    arguments = get_args(hint)
    if get_origin(hint) is list:
        return f"list of {_json_type(arguments[0])}"
    if get_origin(hint) is dict:
        return "object" if arguments[1] is Any else f"object of {_json_type(arguments[1])}"
    return " or ".join(_json_type(argument) for argument in arguments)


def errors_page() -> str:
    rows = sorted({*_class_codes(), *_raised_codes()})
    return "\n".join(
        ["| exit | code | error |", "|---|---|---|", *(f"| {exit} | `{code}` | {name} |" for exit, code, name in rows)]
    )


def _kinds() -> dict[str, type[errors.SomaError]]:
    found = vars(errors).values()
    return {kind.__name__: kind for kind in found if isinstance(kind, type) and issubclass(kind, errors.SomaError)}


def _class_codes() -> Iterator[tuple[int, str, str]]:
    for name, kind in _kinds().items():
        yield kind.exit_code, kind.default_code, name


def _raised_codes() -> Iterator[tuple[int, str, str]]:
    """The codes that the sources give to errors where they raise them."""
    kinds = _kinds()
    for path in (ROOT / "soma_cli").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds:
                kind = kinds[call.func.id]
                for keyword in call.keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        yield kind.exit_code, str(keyword.value.value), kind.__name__


def regenerated(page: str) -> str:
    """`page` with what stands between its markers replaced. Raises ValueError without the markers."""
    for name, content in (("errors", errors_page()), ("results", results_page())):
        pattern = rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)"
        page, count = re.subn(
            pattern, lambda found, text=content: f"{found[1]}\n{text}\n{found[2]}", page, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"the page has no markers for {name}")
    return page


if __name__ == "__main__":
    PAGE.write_text(regenerated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
