"""Standard streams in every state: full, closed, a terminal at which somebody presses Ctrl-C or Ctrl-D."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soma_cli.core.settings import Settings
from soma_cli.core.system import MemorySystem
from tests.e2e.conftest import PATIENCE_S, ROOT, Soma, command_line

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


def shell(soma: Soma, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A bash script in which `soma` is the command."""
    command = f'soma() {{ "{sys.executable}" -m soma_cli "$@"; }}; {script}'
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=soma.env(**env), capture_output=True, text=True, timeout=PATIENCE_S
    )


@pytest.fixture
def filled(soma: Soma) -> Soma:
    with soma.library() as system:
        for n in range(30):
            system.store(text=f"memory {n} " + "x" * 1000)
    return soma


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["list -l 1", "replay", "replay -o json", "stats -o json", "-h"])
def test_an_output_without_space_exits_4(filled: Soma, command: str, unbuffered: str) -> None:
    done = shell(filled, f"soma {command} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 4, done.stderr
    assert "no space left to write the output" in done.stderr
    assert "defect" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if "json" in command:
        assert json.loads(done.stderr)["error"]["code"] == "out_of_space"


@needs_full
def test_a_failure_keeps_its_exit_code_where_its_output_cannot_be_written(filled: Soma) -> None:
    done = shell(filled, "soma lag --threshold 0 > /dev/full; echo $? >&2", PYTHONUNBUFFERED="")
    assert done.stderr.splitlines()[-1] == "7"
    assert "Exception ignored" not in done.stderr
    assert shell(filled, "soma get nobody > /dev/full 2> /dev/full").returncode == 2


def test_a_reader_that_is_gone_does_not_change_the_exit_code_of_a_failure(filled: Soma) -> None:
    done = shell(filled, "{ sleep 0.3; soma lag --threshold 0; echo $? >&2; } | true", PYTHONUNBUFFERED="")
    assert done.stderr.splitlines()[-1] == "7"
    assert "Exception ignored" not in done.stderr


def test_a_closed_output_is_like_a_pipe_that_nobody_reads(soma: Soma) -> None:
    for script in ("soma store --text hi >&-", "soma list >&-", "soma list >&- 2>&-", "soma list >&- 2>&- <&-"):
        done = shell(soma, script)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), script
    assert shell(soma, "soma get nobody 2>&-").returncode == 2
    with MemorySystem(Settings(data_dir=soma.folder)) as system:
        assert [memory.payload for memory in system.list_memories()] == [{"text": "hi"}]


def test_a_database_never_gets_the_number_of_a_closed_stream(soma: Soma) -> None:
    """What a library prints by number would be written into it."""
    script = (
        "import os; from soma_cli.standard_streams import open_missing; open_missing();"
        "os._exit(0 if os.open('/', os.O_RDONLY) > 2 else 1)"
    )
    done = shell(soma, f'"{sys.executable}" -c "{script}" <&- >&- 2>&-')
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["store --payload -", "produce -", "produce - --atomic", "search x --embedding -"])
def test_a_closed_input_is_a_usage_error(soma: Soma, command: str) -> None:
    done = shell(soma, f"soma {command} -o json <&-")
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["error"]["message"] == "standard input is closed"


def test_a_locale_without_a_character_fails_nothing(soma: Soma) -> None:
    shell(soma, "soma store --text 'äö😀'")
    done = shell(soma, "soma list", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert r"\xe4\xf6\U0001f600" in done.stdout
    done = shell(soma, "soma list -o json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)[0]["payload"] == {"text": "äö😀"}


def test_a_defect_is_an_error_object_where_json_is_asked_for(soma: Soma) -> None:
    script = (
        "import sys; import soma_cli.core.system as s; s.MemorySystem.list_memories = None;"
        "sys.argv = ['soma', 'list', '-o', 'json']; from soma_cli.main import main; main()"
    )
    done = shell(soma, f'"{sys.executable}" -c "{script}"')
    assert (done.returncode, done.stdout) == (1, "")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "internal"
    assert "SOMA_DEBUG=1" in error["hint"]
    done = shell(soma, f'"{sys.executable}" -c "{script}"', SOMA_DEBUG="1")
    assert "Traceback" in done.stderr


class Terminal:
    """A command at a terminal of its own, which controls it: keys send signals."""

    def __init__(self, soma: Soma, *arguments: str, **env: str) -> None:
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            command = command_line(arguments)
            os.execve(command[0], command, soma.env(TERM="xterm", COLUMNS="120", **env))
        self.shown = ""

    def until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), f"it ended before it showed {text!r}: {self.shown}"

    def press(self, key: bytes) -> None:
        os.write(self._screen, key)

    def end(self, pressing: bytes = b"") -> int:
        """The exit code. What nothing comes of is pressed again, as a person would: a signal that comes just before
        Python waits for a line is seen after the next key only."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            while pressing and not select.select([self._screen], [], [], _PRESS_AGAIN_S)[0]:
                assert time.monotonic() < deadline, self.shown
                self.press(pressing)
            if not self._read():
                break
        os.close(self._screen)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        ready, _, _ = select.select([self._screen], [], [], PATIENCE_S)
        assert ready, self.shown
        try:
            block = os.read(self._screen, 65536)
        except OSError:  # Linux says so when the other end is closed
            block = b""
        self.shown += block.decode(errors="replace")
        return bool(block)


_PRESS_AGAIN_S = 2.0


@pytest.mark.parametrize("key", [b"\x03", b"\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_a_key_that_ends_the_question_ends_the_command(soma: Soma, key: bytes) -> None:
    id = soma.json("store", "--text", "hi")["id"]
    terminal = Terminal(soma, "prune", "--threshold=-100", "--execute")
    terminal.until("Go ahead?")
    terminal.press(key)
    assert terminal.end(pressing=key) == 130
    assert "Traceback" not in terminal.shown
    assert "interrupted" in terminal.shown
    assert soma.run("get", id).returncode == 0


@pytest.mark.parametrize("command", ["list", "get ID", "consume all --until-end", "list --nope", "prune -h", "stats"])
def test_no_escape_codes_with_no_color(soma: Soma, command: str) -> None:
    id = soma.json("store", "--text", "hi")["id"]
    terminal = Terminal(soma, *command.replace("ID", id).split(), NO_COLOR="1")
    terminal.end()
    assert "\x1b" not in terminal.shown


def test_a_terminal_gets_bold_headings(soma: Soma) -> None:
    """The counterpart: the test above would see them."""
    soma.json("store", "--text", "hi")
    terminal = Terminal(soma, "list")
    assert terminal.end() == 0
    assert "\x1b[1m" in terminal.shown
