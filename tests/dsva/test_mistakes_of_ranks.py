"""What one rank meets alone: a damaged image, or the death of its launcher, is told or answered by all. 30 s."""

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from dsva.config import load
from dsva.exit_codes import MISTAKE
from dsva.protocol.experiment import Experiment
from dsva.runs.checkpoint import newest
from dsva.train.trainer import sample_order
from launch.jobs.local import run_here
from launch.submission.start import write_down
from shards.index import ShardSet
from shards.order import part
from tests.helpers.noise import Noise
from tests.helpers.process_groups import GroupServer
from tests.helpers.programs import environment
from tests.helpers.runs import metrics

STEPS = 6
ENGINES = ("ddp", "zero2", "fsdp2")


@pytest.fixture(scope="module")
def damaged(tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose set has one damaged image, which only the second of two ranks meets, at its second step."""
    root = tmp_path_factory.mktemp("damaged")
    shutil.copytree(tiny.root, root, dirs_exist_ok=True)
    config = yaml.safe_load(tiny.config.read_text())
    config["data"]["shards"] = str(root / "SET")
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    batch = sample_order(Experiment.open(load(root / "config.yaml"))).batch(1)
    sample = int(batch[part(len(batch), 1, 2)][0])
    shards = ShardSet.open(root / "SET")
    with shards.path(sample).open("r+b") as file:
        file.seek(int(shards.records["offset"][sample]) + int(shards.records["length"][sample]) // 2)
        file.write(b"damaged here")
    return root / "config.yaml"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_image_of_one_rank_is_told_by_all(server: GroupServer, damaged: Path, tmp_path: Path, engine: str) -> None:
    group = server.group(2, "train", damaged, f"run.dir={tmp_path / 'RUN'}", f"train.steps={STEPS}", f"train.engine={engine}")
    codes = group.wait()
    assert codes == [MISTAKE, MISTAKE], "\n".join(command.output for command in group.ranks)
    said = [[line for line in command.output.splitlines() if line.startswith("error: ")] for command in group.ranks]
    assert said[0] == said[1]
    assert len(said[0]) == 1
    assert "find all damage with `dsva shards verify" in said[0][0]
    assert not any("Traceback" in command.output for command in group.ranks)


def test_the_job_says_it_too_and_is_not_tried_again(damaged: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = write_down(load(damaged, [f"run.dir={tmp_path / 'RUN'}", f"train.steps={STEPS}"]))
    assert run_here(run, 2) == MISTAKE
    assert "Traceback" not in capfd.readouterr().err
    failed = json.loads((run / "job" / "failed.json").read_text())
    assert failed["code"] == MISTAKE
    assert "Connection" not in failed["reason"]


def in_use(run: Path) -> bool:
    """Whether a process holds the lock of a run."""
    with (run / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_processes_save_and_leave_when_torchrun_dies(tiny: Noise, tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    command = ["-m", "launch", "train", str(tiny.config), f"run.dir={run}", "train.steps=100000", "run.checkpoint_every=100000"]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", *command],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 90
    while len(metrics(run)) < 3:
        assert launcher.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    launcher.send_signal(signal.SIGUSR2)
    assert launcher.wait() == -signal.SIGUSR2
    while in_use(run):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert json.loads((run / "ended.json").read_text())["why"] == "stopped by SIGUSR2 and saved"
    saved, damage = newest(run / "checkpoints")
    assert saved
    assert saved.step == metrics(run)[-1]["step"]
    assert not damage
