"""Other checkers on the same pairs: a table of scores, and where each of them is wrong.

    python -m tests.compatibility.differential NAME=COMMAND ... [--apicurio] [--folder DIR] [--wrong FILE]

COMMAND starts a driver (tests/compatibility/others); `--folder` is where npm installed its packages; `--apicurio`
starts a registry of its own. soma's checker is always the first row.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from tests.compatibility import ours, relations, universe
from tests.compatibility.others.asked import apicurio, asked
from tests.compatibility.pair import Case
from tests.compatibility.score import Answer, score
from tests.compatibility.table import CASES
from tests.services.registry import RegistryServer

HEAD = """\
| checker | pairs | precision | recall | proved | undecided | missed | false alarms |
|---|---|---|---|---|---|---|---|"""


def sets(pairs: int) -> dict[str, list[Case]]:
    """The pairs of the benchmark, by where their truth comes from."""
    made = chain(relations.looser(7, pairs // 2), relations.equal(7, pairs // 2))
    return {"made by hand": CASES, "small worlds": list(universe.cases(7, pairs)), "by construction": list(made)}


def main() -> None:
    options = _options()
    for title, cases in sets(options.pairs).items():
        print(f"\n{title}\n\n{HEAD}")
        _row(options.wrong, title, "soma", ours.answers(cases))
        for checker in options.checkers:
            name, _, command = checker.partition("=")
            _row(options.wrong, title, name, asked(shlex.split(command), cases, options.folder))
        if options.apicurio:
            with RegistryServer() as server:
                _row(options.wrong, title, "Apicurio", apicurio(server.address, cases))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkers", nargs="*", metavar="NAME=COMMAND")
    parser.add_argument("--pairs", type=int, default=2000, help="generated pairs of each kind")
    parser.add_argument("--folder")
    parser.add_argument("--apicurio", action="store_true")
    parser.add_argument("--wrong", type=Path, help="a file to which wrong answers are added, one JSON object a line")
    return parser.parse_args()


def _row(wrong: Path | None, title: str, name: str, answers: Iterable[Answer]) -> None:
    listed = list(answers)
    print(f"| {name} | {score(listed).line()} |")
    sys.stdout.flush()
    if wrong:
        with wrong.open("a") as file:
            for answer in listed:
                if answer.wrong:
                    witness = None if answer.case.compatible else answer.case.witness
                    row = {"set": title, "checker": name, "said": answer.compatible, **answer.case._asdict()}
                    file.write(json.dumps(row | {"witness": witness}) + "\n")


if __name__ == "__main__":
    main()
