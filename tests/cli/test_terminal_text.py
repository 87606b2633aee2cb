"""What others put into payloads, names and notes never reaches a terminal as a command to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from soma_cli.core.record import EVENTS_TOPIC, NewRecord
from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem
from soma_cli.main import app
from soma_cli.output import pretty_json, printable, visible

EVIL = "a\x1b[31mb\x1b]0;t\x07c\x9b2Jd\x85e\u202ef\u2066g\x7fh\ri\U000e0041j"
COMMANDS = {"\x1b", "\x07", "\x9b", "\x85", "\u202e", "\u2066", "\x7f", "\r", "\U000e0041"}


class Soma:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str) -> str:
        """Everything that it prints, on both streams."""
        done = CliRunner().invoke(app, list(arguments), env={"SOMA_DATA_DIR": str(self.folder), "COLUMNS": "300"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.stdout + done.stderr


@pytest.fixture
def soma(tmp_path: Path) -> Soma:
    return Soma(tmp_path / "data")


def check(shown: str) -> None:
    assert "a" in shown
    assert not COMMANDS & set(shown), sorted(COMMANDS & set(shown))


@pytest.fixture
def id(soma: Soma) -> str:
    with MemorySystem(Settings(data_dir=soma.folder)) as system:
        id = system.store(
            {"text": f"words {EVIL}", EVIL: [EVIL]}, namespace=f"n{EVIL}", actor=EVIL, model_revision=None
        ).id
        system.update(id, {EVIL: EVIL, "word": "words"})
        bad = {"event_id": EVIL, "id": EVIL, "type": EVIL, EVIL: 10**30}
        system.adapters.log.append([NewRecord(EVENTS_TOPIC, EVIL.encode(), json.dumps(bad).encode())])
        system.list_memories()
    return id


READS = [
    "list", "search words", "get ID", "get ID --at memory.events/0@0", "history ID", "stats", "replay", "doctor",
    "prune --threshold=-100", "dlq list", "dlq show memory.dlq/0@0", "dlq retry memory.dlq/0@0",
    "dlq discard memory.dlq/0@0", "lag", "consume all --until-end --from 0", "score ID --explain",
]  # fmt: skip


@pytest.mark.parametrize("command", READS)
def test_a_command_shows_no_raw_escape_sequences(soma: Soma, id: str, command: str) -> None:
    check(soma.run(*command.replace("ID", id).split()))


def test_trace_and_the_history_of_a_deletion_show_none(soma: Soma, id: str) -> None:
    with MemorySystem(Settings(data_dir=soma.folder)) as system:
        event = system.delete(id, actor=EVIL, reason={"kind": EVIL}).event_id
    for command in (["trace", event], ["history", id], ["get", id]):
        check(soma.run(*command))


@pytest.mark.parametrize(
    "command",
    [
        ["get", EVIL],
        ["config", "get", EVIL],
        ["--profile", EVIL, "list"],
        ["--config", EVIL, "list"],
        ["store", "--payload", EVIL],
        ["list", "--since", EVIL],
        ["trace", EVIL],
        ["dlq", "show", EVIL],
    ],
    ids=lambda words: " ".join(words).partition("a\x1b")[0],
)
def test_an_error_shows_none_of_what_it_repeats(soma: Soma, command: list[str]) -> None:
    check(soma.run(*command))


def test_json_keeps_every_character(soma: Soma, id: str) -> None:
    assert json.loads(soma.run("get", id, "-o", "json"))["payload"] == {EVIL: EVIL, "word": "words"}


def test_indented_json_is_still_the_same_json() -> None:
    assert json.loads(pretty_json({EVIL: [EVIL, "é\u00a0\u202f\u3000漢😀👩\u200d👧 می\u200cخواهم"]})) == {
        EVIL: [EVIL, "é\u00a0\u202f\u3000漢😀👩\u200d👧 می\u200cخواهم"]
    }


@pytest.mark.parametrize("text", ["10\u202f€", "👩\u200d👧", "می\u200cخواهم", "漢字\u3000かな", "naïve café", "a\nb"])
def test_writing_of_every_language_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_one_line_stays_one_line() -> None:
    assert printable("a\tb\r\n c\u2028d 👩\u200d👧") == "a b c d 👩\u200d👧"
