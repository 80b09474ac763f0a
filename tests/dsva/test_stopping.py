"""Signals that come while a run starts, validates or is scored, and how long they may take to be obeyed. 25 s."""

import json
import os
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from dsva.config import load
from dsva.evaluation.baselines import baselines
from dsva.exit_codes import stopped_by
from dsva.runs.record import note_start
from dsva.train import run as loop
from dsva.train.stopping import SIGNAL_SECONDS, SignalLeadTime, StopSignal
from shards.errors import UserError
from tests.helpers.noise import Noise
from tests.helpers.process_groups import SIGNAL_IN_EVALUATION, GroupServer
from tests.helpers.runs import assert_same, checkpoints, column, finished, metrics, one_line, results

VALIDATING = ["validation.partition=0", "validation.every=2", "eval.batch_size=2", "run.checkpoint_every=4", "data.workers=1"]
STOPPED = stopped_by(signal.SIGUSR2)


def best(run: Path) -> dict[str, str]:
    return {path.name: (path / "state.json").read_text() for path in (run / "checkpoints").glob("best-*")}


def test_a_signal_during_validation_stops_all_ranks_and_the_validation_is_made_up_for(
    server: GroupServer, tiny: Noise, tmp_path: Path
) -> None:
    whole, run = tmp_path / "WHOLE", tmp_path / "RUN"
    server.group(2, "train", tiny.config, f"run.dir={whole}", *VALIDATING).succeed()
    command = ["train", tiny.config, f"run.dir={run}", *VALIDATING]
    group = server.group(2, *command, environment={SIGNAL_IN_EVALUATION: 2})
    assert group.wait() == [STOPPED] * 2, [rank.output for rank in group.ranks]
    (saved,) = checkpoints(run)
    state = json.loads((saved / "state.json").read_text())
    assert (state["step"], state["owes_validation"], state["score"]) == (2, True, None)
    assert [line for line in metrics(run) if "validation/score" in line] == []
    # Stopped again while it makes up for the validation, which it then still owes.
    assert server.group(2, *command, environment={SIGNAL_IN_EVALUATION: 2}).wait() == [STOPPED] * 2
    assert json.loads((saved / "state.json").read_text())["owes_validation"]
    server.group(2, *command).succeed()
    for name in ("step", "loss/total", "validation/score", "validation/proto/zsl"):
        assert column(run, name) == column(whole, name)
    assert best(run) == best(whole)
    assert len(best(run)) == 1
    assert_same(finished(run), finished(whole))
    assert results(run) == results(whole)


def test_a_signal_while_a_run_is_scored_leaves_the_scoring_to_the_next_start(
    server: GroupServer, tiny: Noise, tmp_path: Path
) -> None:
    run = tmp_path / "RUN"
    command = ["train", tiny.config, f"run.dir={run}", "eval.batch_size=2"]
    assert server.group(1, *command, environment={SIGNAL_IN_EVALUATION: 3}).wait() == [STOPPED]
    assert column(run, "step")[-1] == 6
    assert not (run / "results.json").exists()
    server.group(1, *command).succeed()
    assert (run / "results.json").exists()
    starts = [json.loads(line) for line in (run / "starts.jsonl").read_text().splitlines()]
    assert [(start["step"], start["why"]) for start in starts] == [
        (0, "first start"),
        (6, "after: stopped by SIGUSR2 and saved"),
    ]


def test_a_signal_while_baselines_are_made_leaves_them_to_the_next_start(
    tiny: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(tiny.config, [f"run.dir={tmp_path / 'RUN'}", "train.steps=2"])

    def signalled(*given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return baselines(*given)

    monkeypatch.setattr(loop, "baselines", signalled)
    assert loop.run(config) == 128 + signal.SIGTERM
    assert not (tmp_path / "RUN" / "results.json").exists()
    monkeypatch.undo()
    assert loop.run(config) == 0
    assert (tmp_path / "RUN" / "results.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_before_the_first_step_takes_none(
    tiny: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: StringIO, number: signal.Signals
) -> None:
    config = load(tiny.config, [f"run.dir={tmp_path / 'RUN'}", "train.steps=2"])

    def note_and_signal(*given: Any) -> None:
        note_start(*given)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(loop, "note_start", note_and_signal)
    assert loop.run(config) == 128 + number
    assert f"stopped by {number.name}" in said.getvalue()
    assert not (tmp_path / "RUN" / "metrics.jsonl").exists()
    monkeypatch.undo()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert loop.run(config) == 0
    why = json.loads((tmp_path / "RUN" / "starts.jsonl").read_text().splitlines()[-1])["why"]
    assert why == f"after: stopped by {number.name} and saved; restart 2 of Slurm job 17"


def test_under_nohup_a_closed_terminal_means_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.received == 0
            os.kill(os.getpid(), signal.SIGUSR1)
            assert stop.received == signal.SIGUSR1
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_lead_that_is_too_short_is_said_once(said: StringIO) -> None:
    lead = SignalLeadTime({SIGNAL_SECONDS: "30"})
    lead.check(10, 20)
    assert said.getvalue() == ""
    lead.check(11, 20)
    lead.check(12, 20)
    assert said.getvalue().count("WARNING") == 1
    assert "a step takes 11.0 s and a save 20.0 s, but the job is told only 30 s before its end" in said.getvalue()
    SignalLeadTime({}).check(1e9, 1e9)
    assert said.getvalue().count("WARNING") == 1
    for wrong in ("soon", "nan", "-5"):
        with pytest.raises(UserError, match=f"{SIGNAL_SECONDS}='{wrong}' is no number of seconds"):
            SignalLeadTime({SIGNAL_SECONDS: wrong})


def test_a_run_measures_its_steps_and_saves(server: GroupServer, tiny: Noise, tmp_path: Path) -> None:
    command = ["train", tiny.config, f"run.dir={tmp_path / 'RUN'}", "run.async_save=true"]
    said = server.group(1, *command, environment={SIGNAL_SECONDS: "0.001"}).succeed()
    assert said.count("but the job is told only 0 s before its end") == 1
    group = server.group(1, *command, environment={SIGNAL_SECONDS: "x"})
    assert group.wait() == [2]
    one_line(group.ranks[0].output, [SIGNAL_SECONDS])
