"""kill -9, twenty times in one run, at moments spread over starts, steps and saves. 20 s."""

import json
import random
import signal
import subprocess
from pathlib import Path

import pytest
import xxhash

from dsva.config import load
from dsva.protocol.experiment import Experiment
from dsva.train.trainer import sample_order
from tests.helpers.fork_server import Command, ForkServer
from tests.helpers.noise import Noise
from tests.helpers.programs import environment, helper
from tests.helpers.runs import assert_same, board, column, finished, results

KILLS, STEPS = 20, 60
OVERRIDES = [f"train.steps={STEPS}", "train.ema=0.9", "data.min_scale=0.6", "data.batch_size=16", "run.keep=2"]


@pytest.fixture(scope="module")
def whole(dsva: ForkServer, tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "RUN"
    code, output = dsva.run("train", tiny.config, f"run.dir={run}", *OVERRIDES, f"run.checkpoint_every={STEPS}")
    assert code == 0, output
    return run


def wait_for_steps(command: Command, steps: int) -> None:
    command.until(lambda: command.output.count("images_per_second") >= steps)


def test_a_run_killed_twenty_times_ends_as_one_that_was_not(dsva: ForkServer, tiny: Noise, whole: Path, tmp_path: Path) -> None:
    run, rng = tmp_path / "RUN", random.Random(0)
    starts = []
    for kill in range(KILLS):
        command = dsva.start("train", tiny.config, f"run.dir={run}", *OVERRIDES, f"run.checkpoint_every={1 + kill % 2}")
        if kill % 5 == 4:
            command.pause(rng.uniform(0, 0.3))  # while it starts
        else:
            # A step is logged just before it is saved: the pause ends in the save, or in the next step.
            wait_for_steps(command, rng.randint(1, 3))
            command.pause(rng.uniform(0, 0.03))
        assert command.running, "the run ended before it had been killed often enough: " + command.output
        command.kill()
        assert command.wait() == -signal.SIGKILL
        starts.append(command.output)
    code, output = dsva.run("train", tiny.config, f"run.dir={run}", *OVERRIDES)
    assert code == 0, output
    assert "is not used" not in "".join([*starts, output])
    assert sum("continuing from" in start for start in starts) > KILLS / 2
    assert_same(finished(run), finished(whole))
    assert results(run) == results(whole)
    assert column(run, "step") == list(range(1, STEPS + 1))
    for name in ("batch", "loss/total"):
        assert column(run, name) == column(whole, name)
    assert [step for step, _ in board(run, "loss/total")] == column(run, "step")
    assert_every_image_once_an_epoch(run, tiny)


def assert_every_image_once_an_epoch(run: Path, tiny: Noise) -> None:
    """Check it in the pure order, of which the fingerprints prove that the run had followed it."""
    experiment = Experiment.open(load(tiny.config, OVERRIDES))
    order = sample_order(experiment)
    batches = [order.batch(step) for step in range(STEPS)]
    assert column(run, "batch") == [xxhash.xxh3_64_hexdigest(batch.tobytes()) for batch in batches]
    seen, images = [int(i) for batch in batches for i in batch], experiment.sets.train.tolist()
    epochs = len(seen) // len(images)
    assert epochs > 10
    for epoch in range(epochs):
        assert sorted(seen[epoch * len(images) : (epoch + 1) * len(images)]) == images


def test_a_save_killed_before_any_of_its_changes_of_the_disk_costs_nothing(tmp_path: Path) -> None:
    program = [*helper("killed_save"), str(tmp_path)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=300, env=environment())
    assert done.returncode == 0, done.stderr
    for scenario, found in json.loads(done.stdout).items():
        assert found["kills"] >= 6, scenario
        assert found["differences"] == 0, scenario
