"""The ```console blocks of a page: run in order in one home, and compared with what the page says they print.

A line that begins with `$ ` is a command, run by bash; lines that begin with `> ` go on with it. What follows is its
output, standard output and error as a terminal shows them. In it:

- an id, a time, a duration, a size, a fraction, or a number of more than three digits stands for any such value, but
  one id for the same id throughout the page, also in later commands;
- `...` stands for anything within a line, and alone on a line for any number of lines;
- columns may be wider or narrower, and /home/alice is the home that the page runs in.

Blocks that need a cluster are called ```shell-session: they are the same, and run where there are servers.

`python tests/console.py PAGE...` writes into the pages what their commands print now, where it is not what they say.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
HOME = "/home/alice"

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CLUSTER_BLOCK = re.compile(r"^```shell-session\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"
_SIZE = r"\d[\d,]*(?:\.\d+)? [kMG]?B\b"
_PROGRESS = re.compile(r"^[a-z ]+: [\d,]+ done\n", re.MULTILINE)
"""Said after a few seconds only, and so on a slow machine."""
_DURATION = r"\b\d+(?:\.\d+)? ?(?:ms|s)\b"
_FRACTION = r"-?\d+\.\d+(?:e-?\d+)?"
_LARGE = r"\b\d{1,3}(?:,\d{3})+\b|(?<=@)\d{4,}\b|(?<=\"bytes\":)\d+"
_KINDS = (_TIME, _SIZE, _DURATION, _FRACTION, _LARGE)
_TOKEN = re.compile(
    "|".join(
        [
            f"(?P<id>{_ID})",
            *(f"(?P<k{n}>{kind})" for n, kind in enumerate(_KINDS)),
            r"(?P<any>\.\.\.)",
            r"(?P<space>[ \t]+)",
        ]
    )
)


@dataclass
class Step:
    """A command of a page and the output that the page gives for it."""

    command: str
    expected: list[str] = field(default_factory=list)

    @property
    def prompt(self) -> str:
        return "$ " + self.command.replace("\n", "\n> ")


def steps_of(block: str) -> list[Step]:
    steps: list[Step] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:]))
        elif line.startswith("> ") and not steps[-1].expected:
            steps[-1].command += f"\n{line[2:]}"
        else:
            steps[-1].expected.append(line)
    return steps


def blocks_of(page: str, *, cluster: bool = False) -> list[str]:
    return [found[1] for found in (_CLUSTER_BLOCK if cluster else _BLOCK).finditer(page)]


class Shell:
    """One home for all commands of a page, and the settings of a cluster where it has some."""

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        self._home = home
        self._settings = dict(settings or {})
        self._work = home / "work"
        self._work.mkdir(parents=True)
        self._ids: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        """A shell of Alice's: nothing of ours but the programs of this environment and the examples."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SOMA_", "XDG_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
        ours = {"HOME": str(self._home), "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "110", "LANG": "C.UTF-8"}
        return {**kept, **ours, **self._settings}

    def run(self, command: str) -> list[str]:
        for shown, actual in self._ids.items():
            command = command.replace(shown, actual)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.replace(HOME, str(self._home))],
            cwd=self._work,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return _PROGRESS.sub("", done.stdout).replace(str(self._home), HOME).splitlines()

    def matches(self, expected: list[str], printed: list[str]) -> bool:
        found = re.fullmatch(self._pattern(expected), "".join(f"{line.rstrip()}\n" for line in printed))
        if found is None:
            return False
        for name, value in found.groupdict().items():
            self._ids[name.removeprefix("id_").replace("_", "-")] = value
        return True

    def shown(self, printed: list[str]) -> list[str]:
        """What was printed, as the page may show it: with the page's own ids where it has named them before."""
        text = "\n".join(line.rstrip() for line in printed)
        for shown, actual in self._ids.items():
            text = text.replace(actual, shown)
        self._ids |= {id: id for id in re.findall(_ID, text) if id not in self._ids}
        return text.splitlines()

    def _pattern(self, expected: list[str]) -> str:
        named: set[str] = set()
        return "".join(
            r"(?:.*\n)*?" if line.strip() == "..." else self._line(line.rstrip(), named) + r"\n" for line in expected
        )

    def _line(self, line: str, named: set[str]) -> str:
        parts, last = [], 0
        for token in _TOKEN.finditer(line):
            parts += [re.escape(line[last : token.start()]), self._token(token, named)]
            last = token.end()
        return "".join([*parts, re.escape(line[last:])])

    def _token(self, token: re.Match[str], named: set[str]) -> str:
        match token.lastgroup:
            case "id":
                return self._id(token[0], named)
            case "any":
                return ".*?"
            case "space":
                return r"[ \t]+" if token.start() else r"[ \t]*"
            case kind:
                assert kind is not None
                return f"(?:{_KINDS[int(kind[1:])]})"

    def _id(self, shown: str, named: set[str]) -> str:
        """An id met before is that one; a new one is whatever stands there, for the rest of the page."""
        if shown in self._ids:
            return re.escape(self._ids[shown])
        name = "id_" + shown.replace("-", "_")
        if name in named:
            return f"(?P={name})"
        named.add(name)
        return f"(?P<{name}>{_ID})"


def differences(page: str, home: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """What does not go as the page says, step by step; with settings, of the blocks that need a cluster."""
    shell = Shell(home, settings)
    for block in blocks_of(page, cluster=settings is not None):
        for step in steps_of(block):
            printed = shell.run(step.command)
            if not shell.matches(step.expected, printed):
                yield "\n".join([step.prompt, "--- the page", *step.expected, "--- printed", *printed])


def recorded(page: str, home: Path) -> str:
    """The page with what its commands print now, where it is not what it says."""
    shell = Shell(home)

    def block(found: re.Match[str]) -> str:
        lines = ["```console"]
        for step in steps_of(found[1]):
            printed = shell.run(step.command)
            kept = shell.matches(step.expected, printed)
            if not kept:
                printed = shell.shown(printed)
            lines += [step.prompt, *(step.expected if kept else printed)]
        return "\n".join([*lines, "```"])

    return _BLOCK.sub(block, page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with TemporaryDirectory() as scratch:
            path = Path(name)
            path.write_text(recorded(path.read_text(encoding="utf-8"), Path(scratch) / "alice"), encoding="utf-8")
