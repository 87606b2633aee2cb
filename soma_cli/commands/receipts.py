"""Showing the receipt of an appended event, also where waiting for it failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.core.errors import SomaError
from soma_cli.output import Output

if TYPE_CHECKING:
    from soma_cli.core.results import Receipt


class WaitChoice(StrEnum):
    kv = "kv"
    vector = "vector"
    all = "all"


WaitOption = Annotated[WaitChoice | None, typer.Option("--wait", help="Return when this projection has the event.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds to wait at most.", min=0, metavar="SECONDS")]


def show_receipt(output: Output, receipt: Receipt, verb: str) -> None:
    output.result(receipt, lambda: print(_sentence(receipt, verb)), [receipt.id])


def _sentence(receipt: Receipt, verb: str) -> str:
    outcomes = {"kv": receipt.outcomes.kv, "vector": receipt.outcomes.vector}
    known = ", ".join(f"{name} {outcome}" for name, outcome in outcomes.items() if outcome is not None)
    done = f"{verb} before" if receipt.duplicate else verb
    return f"{done} {receipt.id} at {receipt.position}" + (f" ({known})" if known else "")


@contextmanager
def receipt_shown(output: Output) -> Iterator[None]:
    """The event is in the log even where waiting for it failed: print its receipt, then let the error go on."""
    try:
        yield
    except SomaError as error:
        held = error.details.get("receipt")
        if isinstance(held, dict):
            from soma_cli.core.results import Outcomes, Receipt

            show_receipt(output, Receipt(**{**held, "outcomes": Outcomes(**held["outcomes"])}), "appended")
        raise
