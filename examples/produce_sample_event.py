"""The smoke test: one event through the library, read back from the canonical rows.

    python -m examples.produce_sample_event

Writes to the configured data folder (namespace `smoke`), prints the receipt and the row, and exits 0 if the row is what
was stored, 1 if it is not. Errors of soma's go the way of every command: a message, and the exit code of its kind.
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from soma_cli.core.errors import SomaError
from soma_cli.core.serialization import serialize
from soma_cli.core.system import create_memory_system

PAYLOAD = {"text": "a sample event: if you can read this, log and store work", "source": "produce_sample_event"}


def main() -> int:
    with create_memory_system() as soma:
        receipt = soma.store(PAYLOAD, namespace="smoke", wait="all")
        row = soma.get(receipt.id)
    print("receipt", serialize(asdict(receipt)).decode())
    print("row    ", serialize(asdict(row)).decode())
    return 0 if (row.payload, row.last_event_id) == (PAYLOAD, receipt.event_id) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SomaError as error:
        print(f"soma: {error.message}", error.hint, sep="\n      ", file=sys.stderr)
        sys.exit(error.exit_code)
