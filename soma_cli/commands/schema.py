"""soma schema: the group; its commands are in files of their own, each with `add_to(schema)`."""

from __future__ import annotations

import typer

from soma_cli.commands import schema_check, schema_diff, schema_list, schema_promote, schema_publish

schema = typer.Typer(help="The JSON Schemas that soma's events keep to.", no_args_is_help=True)

for part in (schema_check, schema_diff, schema_list, schema_publish, schema_promote):
    part.add_to(schema)


def add_to(app: typer.Typer) -> None:
    app.add_typer(schema, name="schema")
