"""Whatever happens to a run's checkpoints: nothing is used in silence that is not as the run wrote it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor
from typer.testing import CliRunner

from dsva.config import load
from dsva.model.dsva import DSVA
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.run_directory import CHECKPOINTS
from dsva.runs.checkpoint import EMA, MODEL, OPTIMIZER, Checkpoint
from dsva.runs.checkpoint_match import refuse_unfit
from dsva.train.phases import Phases
from dsva.train.resume import find_start
from dsva.train.trainer import Trainer
from launch.cli.main import app
from shards.errors import UserError
from tests.helpers.checkpoint_changes import change, seal
from tests.helpers.heard import heard
from tests.helpers.noise import Noise
from tests.helpers.runs import assert_same, tensors

STEPS, CHANGED = 6, 72
SETTINGS = [f"train.steps={STEPS}", "train.ema=0.9", "run.checkpoint_every=2", "run.keep=9", "data.workers=1"]


@pytest.fixture(scope="module")
def experiment(tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Of a run that has saved three checkpoints, of which the second is the best."""
    run = tmp_path_factory.mktemp("changes") / "RUN"
    opened = Experiment.open(load(tiny.config, [*SETTINGS, f"run.dir={run}"]))
    ranks = Ranks()
    trainer = Trainer(opened, ranks, Phases(ranks.device))
    for batch in trainer.batches():
        trainer.step(batch)
        if (batch.step + 1) % 2 == 0:
            trainer.save(batch.step + 1, {2: 0.1, 4: 0.3, 6: 0.2}[batch.step + 1])
    return opened


@pytest.fixture(scope="module")
def model(experiment: Experiment) -> DSVA:
    return experiment.build_model()


@pytest.fixture
def run(experiment: Experiment, tmp_path: Path) -> Path:
    """A copy of the run."""
    return Path(shutil.copytree(experiment.config.run.dir, tmp_path / "RUN"))


def continued(experiment: Experiment, model: DSVA, run: Path) -> tuple[Checkpoint | None, str]:
    """Do as a start of the run does; return the checkpoint that it would go on from, and what it says."""
    config = experiment.config.model_copy(update={"run": experiment.config.run.model_copy(update={"dir": run})})
    with heard() as said:
        found, _ = find_start(config, Ranks(), experiment.hashes(), None)
    if found:
        refuse_unfit(found, config, model)
        found.restore_weights(model, mean=False)
    return found, said.getvalue()


def everything(found: Checkpoint) -> dict[str, Tensor]:
    return {f"{kind}/{name}": tensor for kind in (MODEL, OPTIMIZER, EMA) for name, tensor in found.tensors(kind)}


@pytest.mark.parametrize("seed", range(CHANGED))
def test_only_what_the_run_wrote_is_used_and_the_rest_is_told(experiment: Experiment, model: DSVA, run: Path, seed: int) -> None:
    what, refusal = change(seed, run / CHECKPOINTS), ""
    for command in ("ls", "verify"):
        result = CliRunner().invoke(app, ["checkpoint", command, str(run)])
        assert result.exception is None or isinstance(result.exception, UserError | SystemExit), (what, result.exception)
    try:
        found, said = continued(experiment, model, run)
    except UserError as error:
        found, said, refusal = None, "", str(error)
    if not found and refusal:
        assert str(run) in refusal
        assert refusal.isprintable()
        return
    assert found, f"{what}: the run would begin anew"
    original = experiment.config.run.dir / CHECKPOINTS / f"step-{found.step:08d}"
    assert_same(everything(found), tensors(original))
    assert found.state == Checkpoint.open(original).state
    assert found.step == STEPS or "WARNING" in said, f"{what}: step {found.step} is used in silence"


def crafted(path: Path, **changes: object) -> None:
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, **changes}))
    seal(path)


def of_another_run(path: Path) -> None:
    config = json.loads((path / "state.json").read_text())["config"]
    crafted(path, config={**config, "run": {**config["run"], "seed": 7}, "optimizer": {**config["optimizer"], "lr": 1.0}})


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (lambda path: path.rename(path.with_name("step-00000060")), "step-00000060 is not used: it holds step 6 and was renamed"),
        (lambda path: (path / "COMPLETE").unlink(), "step-00000006 is not used: it has no COMPLETE"),
        (lambda path: crafted(path, world_size="1"), "state.json is damaged (world_size: Input should be a valid integer)"),
        (lambda path: crafted(path, format=3), "state.json is damaged (format: "),
        (shutil.rmtree, "had saved step 6, but"),
    ],
)
def test_an_older_checkpoint_is_used_with_a_warning(
    experiment: Experiment, model: DSVA, run: Path, do: Callable[[Path], object], told: str
) -> None:
    do(run / CHECKPOINTS / "step-00000006")
    found, said = continued(experiment, model, run)
    assert found
    assert found.step == 4
    assert told in said


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (of_another_run, "is of another run, with optimizer.lr=1.0, not 0.003"),
        (lambda path: crafted(path, inputs={}), "was trained with data.shards of digest unknown"),
        (lambda path: crafted(path.rename(path.with_name("step-00000008")), step=8), "step 8, but the run ends at train.steps=6"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    experiment: Experiment, model: DSVA, run: Path, do: Callable[[Path], object], told: str
) -> None:
    do(run / CHECKPOINTS / "step-00000006")
    with pytest.raises(UserError) as raised:
        continued(experiment, model, run)
    assert told in str(raised.value)


def test_files_that_are_not_of_a_checkpoint_are_named_and_not_read(experiment: Experiment, model: DSVA, run: Path) -> None:
    path = run / CHECKPOINTS / "step-00000006"
    shutil.copy(run / CHECKPOINTS / "step-00000002" / "rank-00000-of-00001.safetensors", path / "rank-00001-of-00002.safetensors")
    (path / "._rank-00000-of-00001.safetensors").write_bytes(b"\0\5\x16\7")
    found, said = continued(experiment, model, run)
    assert found
    assert found.step == STEPS
    assert "rank-00001-of-00002.safetensors is not of the checkpoint, and is not read: remove it" in said
    assert "._rank" not in said
    assert_same(everything(found), tensors(experiment.config.run.dir / CHECKPOINTS / path.name))
    result = CliRunner().invoke(app, ["checkpoint", "verify", str(run)])
    assert isinstance(result.exception, UserError)
    assert "rank-00001-of-00002.safetensors is not of the checkpoint" in result.output


def test_a_checkpoint_of_an_older_version_continues_and_says_that_it_does_not_tell_whose_it_is(
    experiment: Experiment, model: DSVA, run: Path
) -> None:
    path = run / CHECKPOINTS / "step-00000006"
    state = json.loads((path / "state.json").read_text())
    for key in ("format", "config", "tensors", "course", "owes_validation"):
        del state[key]
    (path / "state.json").write_text(json.dumps(state))
    seal(path)
    (run / "saved.json").unlink()
    found, said = continued(experiment, model, run)
    assert found
    assert found.step == STEPS
    assert "step-00000006 does not say of which run it is" in said


def test_a_run_without_checkpoints_is_offered_the_best_one(experiment: Experiment, model: DSVA, run: Path) -> None:
    for path in (run / CHECKPOINTS).glob("step-*"):
        shutil.rmtree(path)
    with pytest.raises(UserError) as raised:
        continued(experiment, model, run)
    best, again = run / CHECKPOINTS / "best-00000004", run / CHECKPOINTS / "step-00000004"
    assert f"put one back, or go on from the best one, which is whole, after `cp -r {best} {again}`" in str(raised.value)
    shutil.copytree(best, again)
    found, said = continued(experiment, model, run)
    assert found
    assert found.step == 4
    assert "had saved step 6" in said
