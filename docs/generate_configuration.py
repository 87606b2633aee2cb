"""Writes the table of settings in CONFIGURATION.md anew: `python docs/generate_configuration.py`."""

from __future__ import annotations

from pathlib import Path

from soma_cli.core.settings_catalogue import document

PAGE = Path(__file__).with_name("CONFIGURATION.md")
BEGIN, END = "<!-- settings:begin -->", "<!-- settings:end -->"


def table() -> str:
    rows = [f"| `{row.key}` | {row.type} | `{row.default}` | {row.doc} |" for row in document()]
    return "\n".join(["| setting | accepted | default | meaning |", "|---|---|---|---|", *rows])


def regenerated(page: str) -> str:
    """`page` with what stands between the markers replaced by the table. Raises ValueError without the markers."""
    before, _ = page.split(BEGIN)
    _, after = page.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(regenerated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
