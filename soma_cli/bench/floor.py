"""The least that a command line on Typer can cost: one command, which prints one line. Run as a module."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def hello(name: Annotated[str, typer.Option("--name", help="Whom to greet.")] = "world") -> None:
    """Greet somebody."""
    print(f"hello, {name}")


if __name__ == "__main__":
    app()
