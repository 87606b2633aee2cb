"""soma doctor"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from soma_cli.commands.options import FormatOption, impatient, load, output_of
from soma_cli.core.errors import CheckFailed, SomaError
from soma_cli.output import Format, hanging

if TYPE_CHECKING:
    from soma_cli.core.results import DoctorReport, Finding

_MARKS = {"ok": ("✓", "ok"), "warning": ("!", "!"), "error": ("✗", "x")}


def doctor(
    ctx: typer.Context,
    deep: Annotated[bool, typer.Option("--deep", help="Read all data, not only its structure.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Look at everything that can be wrong, and say what to do about it. Changes nothing.

    Exits 0 if all is well, 7 with any warning or error.

    Example: soma doctor --deep
    """
    output = output_of(ctx, format)
    report = _report(ctx, deep)
    output.result(report, lambda: _show(report.findings))
    if not report.healthy:
        raise _unwell(report)


def _report(ctx: typer.Context, deep: bool) -> DoctorReport:
    from soma_cli.core.operations.doctor import report
    from soma_cli.core.results import Finding
    from soma_cli.core.system import MemorySystem

    try:
        loaded = load(ctx)
    except SomaError as error:
        return report([Finding("settings", "error", error.message, error.hint)])
    file = f"file {loaded.file}" if loaded.file else "no file"
    message = f"profile {loaded.settings.profile} ({loaded.origins['profile']}), {file}"
    system = MemorySystem(impatient(loaded.settings))
    found = system.admin.doctor(deep=deep).findings
    system.close()  # not after Ctrl-C: that would wait for the threads which still ask servers
    return report([Finding("settings", "ok", message), *found])


def _show(findings: list[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    plain = not _can_print("✓✗")
    for finding in findings:
        mark = _MARKS[finding.status][plain]
        first = f"{mark:<{1 + plain}} {finding.check:<{width}}  "
        hanging(first, finding.message)
        if finding.hint:
            hanging(" " * len(first), finding.hint)


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _unwell(report: DoctorReport) -> CheckFailed:
    counts = Counter(finding.status for finding in report.findings)
    found = [f"{counts[kind]} {kind}{'s' * (counts[kind] > 1)}" for kind in ("error", "warning") if counts[kind]]
    return CheckFailed(f"doctor found {' and '.join(found)}", code="unhealthy", details=dict(counts))


def add_to(app: typer.Typer) -> None:
    app.command("doctor")(doctor)
