"""Steps that are not finite: left out by all ranks together, or passed over after going back; restarts in between. 40 s."""

import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
import torch
import xxhash

from dsva.config import Config, FaultsConfig, load
from dsva.model.dsva import DSVA
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.runs.checkpoint import MODEL, newest
from dsva.runs.checkpoint_format import stored
from dsva.runs.checkpoint_match import whose
from dsva.runs.course import Course
from dsva.train.bad_steps import BadSteps, GoBackError
from dsva.train.engine import Engine
from dsva.train.resume import _find
from dsva.train.saving import Saver
from dsva.train.trainer import sample_order
from shards.errors import UserError
from tests.helpers.noise import Noise
from tests.helpers.process_groups import POISONED, GroupServer
from tests.helpers.runs import assert_same, checkpoints, column, finished, metrics, tensors

STEPS = 9
OVERRIDES = [f"train.steps={STEPS}", "train.ema=0.9", "run.checkpoint_every=3", "eval.batch_size=40", "data.workers=1"]


def lines(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "bad_steps.jsonl").read_text().splitlines()]


def without_last(run: Path) -> str:
    """Remove the newest checkpoint; return what COMPLETE said of it."""
    last = checkpoints(run)[-1]
    complete = (last / "COMPLETE").read_text()
    shutil.rmtree(last)
    return complete


def test_a_batch_poisoned_on_one_rank_is_left_out_by_both(server: GroupServer, tiny: Noise, tmp_path: Path) -> None:
    command = ["train", tiny.config, f"run.dir={tmp_path / 'RUN'}", *OVERRIDES]
    run = tmp_path / "RUN"
    said = " ".join(server.group(2, *command, environment={POISONED: "4,7"}).succeed().split())
    assert said.count("which is left out") == 2
    bad, order = lines(run), sample_order(Experiment.open(load(tiny.config, OVERRIDES)))
    shards = Experiment.open(load(tiny.config)).shards
    assert [line["step"] for line in bad] == [5, 8]
    assert [line["images"] for line in bad] == [[shards.key(int(i)) for i in order.batch(step)] for step in (4, 7)]
    assert str(bad[0]["images"][0]) in said  # type: ignore[index]
    assert column(run, "step") == list(range(1, STEPS + 1))
    assert [line["step"] for line in metrics(run) if "loss/total" not in line] == [5, 8]
    assert all(tensor.isfinite().all() for tensor in finished(run).values())
    # A restart meets the second one again, and counts the first.
    uninterrupted = without_last(run)
    server.group(2, *command, environment={POISONED: "4,7"}).succeed()
    assert (checkpoints(run)[-1] / "COMPLETE").read_text() == uninterrupted
    assert json.loads((checkpoints(run)[-1] / "state.json").read_text())["course"]["skipped"] == [4, 7]


def test_a_bad_step_changes_nothing(server: GroupServer, tiny: Noise, tmp_path: Path) -> None:
    command = ["train", tiny.config, *OVERRIDES, "train.steps=4", "run.checkpoint_every=1", "run.keep=9"]
    server.group(1, *command, f"run.dir={tmp_path / 'RUN'}", environment={POISONED: "2"}).succeed()
    before, after, later = (tensors(checkpoint) for checkpoint in checkpoints(tmp_path / "RUN")[1:])
    assert_same(before, after)
    assert not all(later[name].equal(tensor) for name, tensor in after.items())


@pytest.mark.parametrize("engine", ["ddp", "zero3", "fsdp2"])
def test_going_back_passes_over_what_went_wrong(server: GroupServer, tiny: Noise, tmp_path: Path, engine: str) -> None:
    run = tmp_path / "RUN"
    command = ["train", tiny.config, f"run.dir={run}", *OVERRIDES, f"train.engine={engine}", "faults.skip_budget=1"]
    said = " ".join(server.group(2, *command, environment={POISONED: "4,5"}).succeed().split())
    assert "going back to step 3, and on with the batches after those of step 6" in said
    order = sample_order(Experiment.open(load(tiny.config, OVERRIDES)))
    places = [0, 1, 2, *range(6, STEPS + 3)]
    assert column(run, "batch") == [xxhash.xxh3_64_hexdigest(order.batch(place).tobytes()) for place in places]
    assert column(run, "step") == list(range(1, STEPS + 1))
    assert len(column(run, "loss/total")) == STEPS
    starts = [json.loads(line) for line in (run / "starts.jsonl").read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, 3]
    assert "bad steps" in starts[1]["why"]
    uninterrupted = without_last(run)
    assert json.loads(uninterrupted)
    server.group(2, *command).succeed()
    assert (checkpoints(run)[-1] / "COMPLETE").read_text() == uninterrupted


def test_budget_counts_within_its_window_and_then_ends(tmp_path: Path, said: StringIO) -> None:
    config = FaultsConfig(skip_budget=1, skip_window=10, rollbacks=1)
    bad = BadSteps(config, Course(), tmp_path, 0)
    bad.skip(5, ["a/1", "a/2"])
    bad.skip(15, ["a/3", "a/4", "a/5", "a/6"])
    assert "a/3, a/4, a/5 and 1 more" in said.getvalue()
    assert bad.course == Course((15,))
    assert (bad.course.sound(20, 10), bad.course.sound(25, 10)) == (15, 25)
    with pytest.raises(GoBackError) as raised:
        bad.skip(17, [])
    assert raised.value.course.back_at(12, raised.value.failed) == Course((), 1, 6)
    bad = BadSteps(config, Course((), 1, 6), tmp_path, 1)
    bad.skip(20, [])
    with pytest.raises(UserError, match=r"2 of the last 10 steps, up to step 22, after going back 1 times: lower optimizer\.lr"):
        bad.skip(21, [])
    assert len(lines(tmp_path)) == 3


def test_going_back_leads_to_the_same_step_whatever_was_saved_besides(tmp_path: Path) -> None:
    config = Config.model_validate({"run": {"dir": tmp_path, "checkpoint_every": 4, "keep": 1}})
    saver = Saver(tmp_path, Ranks(), config.run)
    course = Course((6, 9))
    for step in (4, 5, 7, 8, 10):  # 5, 7 and 10 because of signals
        skipped = Course(tuple(bad for bad in course.skipped if bad < step))
        state = whose(config, {}, 1, None).model_copy(update={"step": step, "course": skipped})
        saver.save(state, [(f"{MODEL}/w", torch.ones(3))], sound=skipped.sound(step, 200))
    assert [checkpoint.step for checkpoint in stored(tmp_path / "checkpoints")] == [10, 4]
    found, _ = _find(config, GoBackError(course, 9))
    assert found
    assert found.step == 4
    last, _ = newest(tmp_path / "checkpoints")
    assert last
    assert (last.step, last.state.course) == (10, course)


def test_a_loss_that_is_not_finite_has_no_finite_gradient() -> None:
    config = Config.model_validate(
        {"model": {"width": 8, "layers": 1, "heads": 2, "mlp": 8}, "data": {"image_size": 24, "resize": 24}}
    )
    engine = Engine(DSVA(config.model, 24, ((0,),)), config, Ranks())
    weight = engine.plain.main.bias
    before = weight.detach().clone()
    engine.backward((weight * 0).sum() + float("inf"))
    assert not engine.apply().isfinite()
    assert weight.equal(before)
    assert weight.grad is None
