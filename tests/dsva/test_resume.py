"""Runs that are interrupted, and go on as if nothing had been. 25 s."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from dsva.runs.checkpoint import newest
from tests.helpers.fork_server import ForkServer
from tests.helpers.noise import Noise
from tests.helpers.runs import assert_same, board, checkpoints, column, cut, finished, flipped, metrics, one_line, results

STEPS = 12
# Everything that has a state: a running mean, frozen first steps, moments that are forgotten, episodes, all random changes.
OVERRIDES = [
    f"train.steps={STEPS}",
    "train.ema=0.9",
    "train.heads_only_steps=3",
    "optimizer.reset_moments=true",
    "optimizer.epoch_steps=5",
    "optimizer.schedule=published",
    "optimizer.warmup_steps=4",
    "data.ways=3",
    "data.rotate=true",
    "data.min_scale=0.6",
    "run.checkpoint_every=3",
]


@pytest.fixture(scope="module")
def whole(dsva: ForkServer, tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that nothing interrupted; it also keeps its older checkpoints."""
    run = tmp_path_factory.mktemp("whole") / "RUN"
    code, output = dsva.run("train", tiny.config, f"run.dir={run}", *OVERRIDES, "run.keep=10")
    assert code == 0, output
    return run


def assert_equal(run: Path, whole: Path) -> None:
    """Check that a run ended as the whole one did, with one continuous curve."""
    assert_same(finished(run), finished(whole))
    assert results(run) == results(whole)
    steps = list(range(1, STEPS + 1))
    assert column(run, "step") == steps
    for name in ("batch", "loss/total", "gradient_norm", "lr/backbone"):
        assert column(run, name) == column(whole, name)
    assert [step for step, _ in board(run, "loss/total")] == steps


@pytest.mark.parametrize(("number", "after"), [(signal.SIGTERM, 1), (signal.SIGINT, 7), (signal.SIGUSR2, 4)])
def test_a_signal_saves_at_the_next_step_and_the_run_goes_on_to_the_same_end(
    dsva: ForkServer, tiny: Noise, whole: Path, tmp_path: Path, number: signal.Signals, after: int
) -> None:
    run = tmp_path / "RUN"
    command = ("train", tiny.config, f"run.dir={run}", *OVERRIDES, "run.checkpoint_every=1000")
    first = dsva.start(*command)
    first.until(lambda: len(metrics(run)) >= after)
    first.kill(number)
    code = first.wait()
    assert code == 128 + number, first.output
    assert f"stopped by {number.name} and saved" in first.output
    (saved,) = checkpoints(run)
    step = json.loads((saved / "state.json").read_text())["step"]
    assert after <= step == metrics(run)[-1]["step"] < STEPS
    assert not (run / "results.json").exists()
    code, output = dsva.run(*command)
    assert code == 0, output
    assert f"continuing from {saved}" in output
    starts = [json.loads(line) for line in (run / "starts.jsonl").read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, step]
    assert [start["why"] for start in starts] == ["first start", f"after: stopped by {number.name} and saved"]
    assert_equal(run, whole)


def copy_of(whole: Path, to: Path) -> Path:
    return Path(shutil.copytree(whole, to / "RUN"))


@pytest.mark.parametrize("name", ["*.safetensors", "state.json", "COMPLETE"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    dsva: ForkServer, tiny: Noise, whole: Path, tmp_path: Path, name: str
) -> None:
    run = copy_of(whole, tmp_path)
    last, before = checkpoints(run)[-1], checkpoints(run)[-2]
    (file,) = last.glob(name)
    content = file.read_bytes()
    for changed in (flipped(content), cut(content), b"", b"[]", b'{"files": 5, "digest": 5}', b"\xff\xfe", None):
        if changed is None:
            file.unlink()
        else:
            file.write_bytes(changed)
        found, (sentence,) = newest(run / "checkpoints")
        assert found
        assert (found.path, found.step) == (before, STEPS - 3)
        assert str(last) in sentence
        assert file.name in sentence
    code, output = dsva.run("train", tiny.config, f"run.dir={run}", *OVERRIDES)
    assert code == 0, output
    assert f"warning: {sentence}" in output
    assert f"continuing from {before}" in output
    assert_equal(run, whole)


def test_what_a_crash_leaves_of_a_checkpoint_is_not_looked_at(dsva: ForkServer, tiny: Noise, whole: Path, tmp_path: Path) -> None:
    run = copy_of(whole, tmp_path)
    last, before = checkpoints(run)[-1], checkpoints(run)[-2]
    last.rename(last.with_name(f".{last.name}.writing"))
    (run / "checkpoints" / "step-notes").mkdir()
    code, output = dsva.run("train", tiny.config, f"run.dir={run}", *OVERRIDES, "run.keep=1")
    assert code == 0, output
    assert "is not used" not in output
    assert f"continuing from {before}" in output
    assert [path.name for path in (run / "checkpoints").iterdir() if path.name != "step-notes"] == [last.name]
    assert_equal(run, whole)


def test_with_no_checkpoint_left_the_run_begins_anew_only_if_asked_to(
    dsva: ForkServer, tiny: Noise, whole: Path, tmp_path: Path
) -> None:
    run = copy_of(whole, tmp_path)
    for path in checkpoints(run):
        (path / "COMPLETE").write_bytes(b"")
    code, output = dsva.run("eval", run)
    assert code == 2
    one_line(output, ["no complete checkpoint", "COMPLETE"])
    command, before = ("train", tiny.config, f"run.dir={run}", *OVERRIDES), (run / "metrics.jsonl").read_bytes()
    code, output = dsva.run(*command)
    assert code == 2
    refusal = one_line(output, ["was at step 12", "put one back", "--from-scratch"])
    assert refusal.count("is not used") == 4
    assert (run / "metrics.jsonl").read_bytes() == before
    code, output = dsva.run(*command, "--from-scratch")
    assert code == 0, output
    assert "starting from step 0" in output
    assert (run / "before-0001" / "metrics.jsonl").read_bytes() == before
    assert len(checkpoints(run / "before-0001")) == 4
    assert_equal(run, whole)


def test_damaged_lines_of_the_metrics_are_dropped(dsva: ForkServer, tiny: Noise, whole: Path, tmp_path: Path) -> None:
    run = copy_of(whole, tmp_path)
    file = run / "metrics.jsonl"
    file.write_bytes(b"garbage\n[]\n}\n" + file.read_bytes() + b'\0\xff\n{"stop": 5}\n{"step": "5"}\n{"step": 13}\n{"step": 5}')
    code, output = dsva.run("train", tiny.config, f"run.dir={run}", *OVERRIDES)
    assert code == 0, output
    assert_equal(run, whole)


def test_the_mean_of_the_weights_is_what_is_evaluated_and_is_not_trained(whole: Path, dsva: ForkServer, tmp_path: Path) -> None:
    saved = finished(whole)
    names = [name.removeprefix("ema/") for name in saved if name.startswith("ema/")]
    assert names
    assert any(not saved[f"ema/{name}"].equal(saved[f"model/{name}"]) for name in names)
    run = copy_of(whole, tmp_path)
    assert dsva.run("eval", run, f"run.dir={run}")[0] == 0
    assert results(run) == results(whole)
