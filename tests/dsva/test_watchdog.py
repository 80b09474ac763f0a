"""Ranks that hang, and what is said of which rank is slow. 15 s."""

import json
import threading
from pathlib import Path

import pytest

from dsva.exit_codes import HUNG
from dsva.train.phases import PHASES
from dsva.train.stragglers import slowest, slowest_table
from dsva.train.watchdog import Watchdog
from tests.helpers.noise import Noise
from tests.helpers.process_groups import HANGS_AT, HANGS_IN, HOLDS_INTERPRETER, GroupServer

OVERRIDES = ["train.steps=4", "run.checkpoint_every=2", "eval.batch_size=40", "data.workers=1"]


def test_a_rank_that_hangs_ends_all_with_their_stacks_and_the_run_goes_on(server: GroupServer, tiny: Noise, tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    command = ["train", tiny.config, f"run.dir={run}", *OVERRIDES, "faults.hang_seconds=2"]
    group = server.group(2, *command, environment={HANGS_AT: 3})
    assert group.wait() == [HUNG, HUNG], [command.output for command in group.ranks]
    waiting, hanging = (path.read_text() for path in sorted((run / "hangs").iterdir()))
    assert hanging.startswith("rank 1 ")
    assert "in phase forward" in hanging
    assert "in hanging" in hanging  # the function that sleeps
    assert waiting.startswith("rank 0 ")
    assert "in phase backward" in waiting
    assert "in backward" in waiting  # for the gradients of the other
    assert "the run hangs: rank 1" in group.ranks[1].output
    assert "continuing from" in server.group(2, *command).succeed()
    starts = [json.loads(line)["why"] for line in (run / "starts.jsonl").read_text().splitlines()]
    assert starts == ["first start", "after a crash or a kill, of which nothing was noted"]


@pytest.mark.parametrize(("where", "phase"), [("beginning", "start"), ("evaluation", "validation")])
def test_a_rank_that_hangs_before_the_first_step_or_after_the_last_ends_all(
    server: GroupServer, tiny: Noise, tmp_path: Path, where: str, phase: str
) -> None:
    run = tmp_path / "RUN"
    command = ["train", tiny.config, f"run.dir={run}", *OVERRIDES, "eval.batch_size=10", "faults.hang_seconds=4"]
    assert server.group(2, *command, environment={HANGS_IN: where}).wait() == [HUNG, HUNG]
    waiting, hanging = (path.read_text() for path in sorted((run / "hangs").iterdir()))
    assert f"rank 1 (process {hanging.split('process ')[1].split(')')[0]}) in phase {phase}" in hanging
    assert "in hanging" in hanging
    assert f"in phase {phase}" in waiting


def test_a_process_that_holds_the_interpreter_is_ended_too(server: GroupServer, tiny: Noise, tmp_path: Path) -> None:
    command = ["train", tiny.config, f"run.dir={tmp_path / 'RUN'}", *OVERRIDES, "faults.hang_seconds=1"]
    group = server.group(1, *command, environment={HANGS_AT: 3, HOLDS_INTERPRETER: 1})
    assert group.wait() == [1]
    assert "Timeout (0:00:02)!" in group.ranks[0].output
    assert "in hanging" in group.ranks[0].output


def test_a_process_that_gets_on_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, looks = threading.Event(), 0
    monkeypatch.setattr(Watchdog, "_end", lambda self, phase, quiet: ended.set())

    def seen() -> tuple[str, float]:
        nonlocal looks
        looks += 1
        return "save", float("inf") if looks < 100 else 0.0

    with Watchdog.over(tmp_path, "start", 0, 0.1, seen):
        assert ended.wait(30)
    assert looks >= 100
    with Watchdog.over(tmp_path, "start", 0, 0, seen):
        pass


def test_slow_ranks_are_named(tmp_path: Path) -> None:
    spent = [{phase: 0.1 for phase in PHASES}, {**{phase: 0.1 for phase in PHASES}, "data": 0.3, "exchange": 0.0}]
    values = slowest(spent)
    assert (values["slowest/data"], values["seconds/data"]) == (1, 0.3)
    assert values["slowest_factor/data"] == pytest.approx(1.5)
    assert values["slowest/exchange"] == 0
    alone = slowest(spent[:1])
    assert alone == {f"seconds/{phase}": 0.1 for phase in PHASES}
    assert slowest_table(tmp_path / "none.jsonl") is None
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in ({"step": 1}, {"step": 2, **values})))
    table = slowest_table(tmp_path / "metrics.jsonl")
    assert table
    assert [row[0] for row in table.rows] == list(PHASES)
    assert table.rows[0] == ["data", "300.0", "1 (100 %)", "1.50"]


def test_two_ranks_are_measured(server: GroupServer, tiny: Noise, tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    said = server.group(2, "train", tiny.config, f"run.dir={run}", *OVERRIDES, "run.log_every=2").succeed()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    for line in lines:
        for phase in PHASES:
            assert 0 <= line[f"seconds/{phase}"] < line["interval_seconds"]
            assert line[f"slowest/{phase}"] in (0, 1)
            assert line[f"slowest_factor/{phase}"] >= 1
    assert "Where the time of a step goes" in said
