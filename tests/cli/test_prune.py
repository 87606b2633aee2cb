"""soma prune: a plan by score, and deletes bound to the versions that were scored."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from soma_cli.core.errors import InputRejected, NotFound, UsageError
from soma_cli.core.instants import format_instant, parse_instant
from soma_cli.core.scoring import HOUR_US, POLICIES, Inputs, score
from soma_cli.core.system import MemorySystem, create_memory_system
from soma_cli.main import app

FLAT = {  # a score that knows importance only, so that it is the same for memories of different age
    "SOMA_SCORING__WEIGHTS__AGE": "0",
    "SOMA_SCORING__WEIGHTS__RECENCY": "0",
    "SOMA_SCORING__WEIGHTS__ACCESS": "0",
    "SOMA_SCORING__THRESHOLD": "-5",
}


@pytest.fixture
def system(tmp_path: Path):
    with create_memory_system(data_dir=tmp_path) as made:
        yield made


def soma(folder: Path, *arguments: str, **env: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"SOMA_DATA_DIR": str(folder), "COLUMNS": "200", **env})


def planned(folder: Path, *arguments: str, **env: str) -> dict:
    run = soma(folder, "prune", *arguments, "-o", "json", **env)
    assert run.exit_code == 0, run.stderr
    return json.loads(run.stdout)


def ids(plan: dict) -> list[str]:
    return [selected["id"] for selected in plan["selected"]]


def three(system: MemorySystem) -> list[str]:
    """Memories of importance 1, 2 and 3."""
    return [system.store(text=f"memory {i}", namespace=f"n{i}", importance=i).id for i in (1, 2, 3)]


def many(system: MemorySystem, count: int, importance: float = 1.0) -> None:
    line = json.dumps({"payload": {"text": "one of many"}, "importance": importance}).encode()
    assert system.produce([line] * count).accepted == count


def live(system: MemorySystem) -> set[str]:
    return {memory.id for memory in system.list_memories(limit=10_000)}


def after(system: MemorySystem, hours: int) -> str:
    """An instant so many hours after the newest memory."""
    return format_instant(parse_instant(system.list_memories()[0].created_at) + hours * HOUR_US)


def test_the_plan_is_shown_and_changes_nothing(system: MemorySystem, tmp_path: Path) -> None:
    one, two, _ = three(system)
    system.fetch(two)
    now = after(system, 400)
    plan = planned(tmp_path, "--now", now)
    assert plan == planned(tmp_path, "--now", now)
    assert {key: plan[key] for key in ("policy", "now", "threshold", "considered", "matching")} == {
        "policy": "roadmap",
        "now": now,
        "threshold": 2.0,
        "considered": 3,
        "matching": 2,
    }
    assert ids(plan) == [one, two]
    assert (plan["executed"], plan["appended"], plan["skipped"]) == (False, 0, [])
    assert len(live(system)) == 3


def test_selected_memories_carry_what_they_were_scored_on(system: MemorySystem, tmp_path: Path) -> None:
    three(system)
    system.fetch(three(system)[1])
    now = after(system, 5000)
    memories = {memory.id: memory for memory in system.list_memories()}
    selected = planned(tmp_path, "--now", now)["selected"]
    assert len(selected) == 6
    for found in selected:
        memory = memories[found["id"]]
        assert (found["version"], found["importance"]) == (memory.version, memory.importance)
        assert (found["last_access"], found["access_count"]) == (memory.last_access, memory.access_count)
        assert (found["created_at"], found["text"]) == (memory.created_at, memory.payload["text"])
        read_us = None if memory.last_access is None else parse_instant(memory.last_access)
        inputs = Inputs(parse_instant(memory.created_at), read_us, memory.access_count, memory.importance)
        again = score(inputs, POLICIES["roadmap"], parse_instant(now))
        assert found["score"] == again.value
        assert found["terms"] == {name: getattr(again.terms, name) for name in found["terms"]}
    assert sum(found["access_count"] for found in selected) == 1


def test_planning_is_no_access(system: MemorySystem, tmp_path: Path) -> None:
    three(system)
    planned(tmp_path, "--now", after(system, 5000))
    assert [memory.last_access for memory in system.list_memories()] == [None] * 3


def test_highest_scores_come_first_and_ids_decide_ties(system: MemorySystem, tmp_path: Path) -> None:
    many(system, 5, importance=2.0)
    many(system, 4, importance=1.0)
    system.store(text="the lowest id comes last", id="01890a5d-ac96-774b-bcce-b302099a8057", importance=1.0)
    plan = planned(tmp_path, **FLAT)
    importance = {memory.id: memory.importance for memory in system.list_memories()}
    assert ids(plan) == sorted(importance, key=lambda id: (importance[id], id))
    assert [selected["score"] for selected in plan["selected"]] == [-2.0] * 5 + [-4.0] * 5
    assert ids(planned(tmp_path, "--limit", "7", **FLAT)) == ids(plan)[:7]


def test_a_limit_selects_the_highest_scores(system: MemorySystem, tmp_path: Path) -> None:
    one, two, _ = three(system)
    plan = planned(tmp_path, "--now", after(system, 5000), "--limit", "2")
    assert ids(plan) == [one, two]
    assert (plan["considered"], plan["matching"]) == (3, 3)
    text = soma(tmp_path, "prune", "--now", after(system, 5000), "--limit", "2").stdout
    assert "selected    2 of 3 above the threshold" in text


def test_policy_namespace_and_threshold(system: MemorySystem, tmp_path: Path) -> None:
    one, two, three_ = three(system)
    now = after(system, 50)
    assert ids(planned(tmp_path, "--now", now)) == [one]
    assert ids(planned(tmp_path, "--now", now, "--policy", "retain")) == []
    assert ids(planned(tmp_path, "--now", now, "--threshold", "-1.5")) == [one, two]
    assert ids(planned(tmp_path, "--now", now, SOMA_SCORING__THRESHOLD="-3")) == [one, two, three_]
    weighed = planned(tmp_path, "--now", now, SOMA_SCORING__WEIGHTS__IMPORTANCE="0")
    assert len(ids(weighed)) == 3
    assert weighed["weights"] == {"age": 1.0, "recency": 1.0, "access": 0.5, "importance": 0.0}
    assert [selected["terms"]["importance"] for selected in weighed["selected"]] == [0.0] * 3
    assert "-0.0" not in json.dumps(weighed)
    other = planned(tmp_path, "--now", now, "--namespace", "n2")
    assert (other["considered"], ids(other)) == (1, [])


def test_a_read_decides_by_the_sign_of_its_weights(system: MemorySystem, tmp_path: Path) -> None:
    id = system.store(text="Alice prefers window seats").id
    system.adapters.store.record_access([id], parse_instant(after(system, 40)))
    assert ids(planned(tmp_path, "--now", after(system, 41))) == [id]
    assert ids(planned(tmp_path, "--now", after(system, 63), "--policy", "retain")) == []


def test_the_text_says_what_the_policy_means(system: MemorySystem, tmp_path: Path) -> None:
    one = system.store(text="memory 1").id
    text = soma(tmp_path, "prune", "--now", after(system, 60)).stdout
    assert "policy      roadmap: age 1, recency 1, access 0.5, importance 2\n" in text
    assert "importance 1 that nobody reads is selected after 45.7 hours." in text
    assert "A recent or frequent access raises the score and makes pruning more likely.\n" in text
    row = next(line for line in text.splitlines() if line.startswith(one)).split()
    assert row[1:] == ["2.2617", "+4.1109", "+0.0164", "+0.1345", "-2.0000", "2.5", "d", "never", "memory", "1"]
    retain = soma(tmp_path, "prune", "--policy", "retain").stdout
    assert "after 62.4 hours. A recent or frequent access lowers the score and makes pruning less likely.\n" in retain
    mixed = soma(tmp_path, "prune", SOMA_SCORING__WEIGHTS__ACCESS="-1").stdout
    assert "A recent access raises the score and makes pruning more likely. A frequent access lowers" in mixed
    never = soma(tmp_path, "prune", **{**FLAT, "SOMA_SCORING__THRESHOLD": "0"}).stdout
    assert "A memory of importance 1 that nobody reads is never selected.\n" in never


def test_the_text_shows_the_first_fifty(system: MemorySystem, tmp_path: Path) -> None:
    many(system, 53)
    text = soma(tmp_path, "prune", **FLAT).stdout
    assert text.count("one of many") == 50
    assert "... and 3 more" in text
    assert len(ids(planned(tmp_path, **FLAT))) == 53


def test_execute_deletes_with_reason_actor_and_version(system: MemorySystem, tmp_path: Path) -> None:
    one, two, three_ = three(system)
    now = after(system, 400)
    plan = planned(tmp_path, "--now", now)
    done = planned(tmp_path, "--now", now, "--execute", "--yes", "--actor", "night job")
    assert done == {**plan, "executed": True, "appended": 2}
    assert live(system) == {three_}
    event = system.history(one)[-1].event
    selected = plan["selected"][0]
    assert event is not None
    assert (event["type"], event["payload"], event["namespace"]) == ("deleted", {}, "n1")
    assert (event["actor"], event["if_version"]) == ("night job", selected["version"])
    assert event["reason"] == {
        "kind": "prune",
        "policy": "roadmap",
        "score": selected["score"],
        "terms": selected["terms"],
        "weights": plan["weights"],
        "threshold": 2.0,
        "now": now,
    }
    with pytest.raises(NotFound, match="by night job: pruned by policy roadmap"):
        system.fetch(two)
    assert planned(tmp_path, "--now", now)["considered"] == 1


def test_execute_in_batches(system: MemorySystem, tmp_path: Path) -> None:
    many(system, 1203)
    done = planned(tmp_path, "--execute", "--yes", **FLAT)
    assert (done["appended"], done["skipped"], len(done["selected"])) == (1203, [], 1203)
    assert live(system) == set()


def test_execute_in_text_and_quiet(system: MemorySystem, tmp_path: Path) -> None:
    one, two, three_ = three(system)
    run = soma(tmp_path, "prune", "--now", after(system, 400), "--limit", "1", "--execute", "--yes")
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout.endswith("\ndeleted 1 of 1 selected memories\n")
    now = after(system, 5000)
    assert soma(tmp_path, "prune", "--now", now, "-q").stdout.split() == [two, three_]
    assert soma(tmp_path, "prune", "--now", now, "-q", "--execute", "--yes").stdout.split() == [two, three_]
    assert live(system) == set()
    assert len(system.history(one)) == 2


def test_without_a_terminal_it_wants_yes(system: MemorySystem, tmp_path: Path) -> None:
    three(system)
    run = soma(tmp_path, "prune", "--now", after(system, 400), "--execute", "-o", "json")
    assert (run.exit_code, run.stdout) == (2, "")
    assert "--yes" in json.loads(run.stderr)["error"]["hint"]
    assert len(live(system)) == 3


def test_nothing_selected_needs_no_answer(tmp_path: Path) -> None:
    done = planned(tmp_path, "--execute")
    assert (done["executed"], done["appended"], done["considered"]) == (True, 0, 0)


def test_what_changes_after_it_was_scored_is_kept(system: MemorySystem) -> None:
    one, two, three_ = three(system)
    plan = system.admin.prune(now=after(system, 5000))
    system.update(one, text="changed")
    system.delete(two, reason="by hand")
    done = system.admin.execute_prune(plan)
    versions = {selected.id: selected.version for selected in plan.selected}
    assert [(skipped.id, skipped.version) for skipped in done.skipped] == [(one, versions[one]), (two, versions[two])]
    assert all(f"if_version is {skipped.version}, the state is at version" in skipped.note for skipped in done.skipped)
    assert (done.executed, done.appended, plan.executed) == (True, 3, False)
    assert live(system) == {one}
    assert system.fetch(one).payload == {"text": "changed"}
    with pytest.raises(NotFound, match="by hand"):
        system.fetch(two)
    with pytest.raises(NotFound, match="pruned"):
        system.fetch(three_)


def test_a_plan_that_ran_twice_deletes_nothing_more(system: MemorySystem) -> None:
    one, *_ = three(system)
    plan = system.admin.prune(now=after(system, 400), limit=1)
    system.admin.execute_prune(plan)
    system.store(text="back again", id=one)
    assert [skipped.id for skipped in system.admin.execute_prune(plan).skipped] == [one]
    assert one in live(system)


def test_skipped_deep_in_a_large_plan(system: MemorySystem) -> None:
    many(system, 1101)
    plan = system.admin.prune(threshold=-100.0)
    changed = [plan.selected[index].id for index in (0, 499, 500, 1100)]
    for id in changed:
        system.update(id, text="changed")
    assert [skipped.id for skipped in system.admin.execute_prune(plan).skipped] == changed
    assert live(system) == set(changed)


def test_an_error_says_how_many_deletes_went_before_it(system: MemorySystem) -> None:
    many(system, 600)
    plan = system.admin.prune(threshold=-100.0)
    plan.selected[550].namespace = "\ud800"  # which no event can hold
    with pytest.raises(InputRejected) as caught:
        system.admin.execute_prune(plan)
    assert caught.value.details["appended"] == 500
    assert len(live(system)) == 100


def test_library_prune_executes_in_one_call(system: MemorySystem) -> None:
    one, *_ = three(system)
    done = system.admin.prune(now=after(system, 50), execute=True, actor="library")
    assert ([selected.id for selected in done.selected], done.appended) == ([one], 1)
    with pytest.raises(NotFound, match="by library"):
        system.fetch(one)


def test_malformed_calls(system: MemorySystem, tmp_path: Path) -> None:
    for arguments in (["--policy", "mine"], ["--threshold", "nan"], ["--now", "someday"], ["--limit", "0"]):
        run = soma(tmp_path, "prune", *arguments)
        assert (run.exit_code, run.stdout) == (2, "")
    with pytest.raises(UsageError, match="'mine' is not a policy"):
        system.admin.prune(policy="mine")


class Terminal:
    """A prune on a terminal of its own, for stdin and stderr; stdout is a pipe."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "soma_cli", "prune", "--execute", *arguments],
            env={**os.environ, "SOMA_DATA_DIR": str(folder), "COLUMNS": "200"},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        )
        os.close(theirs)

    def question(self) -> str:
        """Everything up to the question mark of a question."""
        shown = b""
        while b"?" not in shown:
            shown += os.read(self.ours, 1000)
        return shown.decode()

    def answer(self, text: str) -> str:
        """stdout after the answer; `shown` is what the terminal showed then."""
        os.write(self.ours, f"{text}\n".encode())
        self.shown = self._rest()
        os.close(self.ours)
        return self.process.communicate(timeout=60)[0]

    def _rest(self) -> str:
        shown = b""
        try:
            while more := os.read(self.ours, 1000):
                shown += more
        except OSError:  # how Linux says that the other end is closed
            pass
        return shown.decode()


def test_on_a_terminal_it_asks_and_no_keeps_everything(system: MemorySystem, tmp_path: Path) -> None:
    three(system)
    terminal = Terminal(tmp_path, "--now", after(system, 400), "-o", "json")
    assert "memories to delete: 2 (above 2 by roadmap). Go ahead?" in terminal.question()
    plan = json.loads(terminal.answer("n"))
    assert (plan["executed"], plan["appended"], len(plan["selected"])) == (False, 0, 2)
    assert terminal.process.returncode == 0
    assert len(live(system)) == 3


def test_an_update_while_it_asks_saves_the_memory(system: MemorySystem, tmp_path: Path) -> None:
    one, two, three_ = three(system)
    terminal = Terminal(tmp_path, "--now", after(system, 400))
    terminal.question()
    system.update(one, text="changed while it asked")
    text = terminal.answer("y")
    assert terminal.process.returncode == 0
    assert text.index("considered  3") < text.index("deleted 1 of 2 selected memories")
    assert f"kept {one}: if_version is" in text
    assert "1 changed after they were scored and were kept; this is no failure" in text
    assert live(system) == {one, three_}
    assert len(system.history(two)) == 2


def test_quiet_prints_the_ids_that_were_deleted(system: MemorySystem, tmp_path: Path) -> None:
    one, two, _ = three(system)
    terminal = Terminal(tmp_path, "--now", after(system, 400), "-q")
    terminal.question()
    system.update(one, text="changed while it asked")
    assert terminal.answer("y").split() == [two]
    assert "1 changed after they were scored and were kept" in terminal.shown
