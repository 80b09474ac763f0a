"""The real Slurm that the tests run on."""

import random
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from launch.cli.main import app
from launch.jobs.folder import JobFolder
from shards.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "slurm" / "dev"
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd")


@dataclass(frozen=True)
class Cluster:
    """The running cluster: 4 nodes of 4 processors; partitions main, low (preemptible) and high."""

    environment: dict[str, str]

    def run(self, *command: object) -> str:
        """Run a command against the cluster; return what it printed, fail with it if it fails."""
        done = subprocess.run(
            [str(c) for c in command], env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def dsva(self, *arguments: object) -> str:
        """Run `dsva ARGUMENTS` as on the login node; in this process, which has imported torch already; return its answer."""
        return self._done(*arguments).stdout

    def told(self, *arguments: object) -> str:
        """Run `dsva ARGUMENTS`; return its messages and its answer."""
        return self._done(*arguments).output

    def fails(self, *arguments: object) -> str:
        """Run `dsva ARGUMENTS`, which must leave with exit code 2; return the sentence that says why, or what was printed."""
        done = self._invoke(*arguments)
        if isinstance(done.exception, UserError):  # which `main` makes that exit code of
            return str(done.exception)
        assert done.exit_code == 2, done.output
        return done.output

    def _done(self, *arguments: object) -> Result:
        done = self._invoke(*arguments)
        assert done.exit_code == 0, f"{arguments} ended with {done.exit_code}: {done.exception!r}\n{done.output}"
        return done

    def _invoke(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=self.environment)

    def node(self, action: str, name: str) -> None:
        """Make a node fail or come back, see slurm/dev/node."""
        self.run(DEV / "node", action, name)

    def restart_controller(self) -> None:
        """Kill slurmctld as soon as it has written down what has just happened, which takes it seconds, and start it again."""
        kept, now = Path(self.environment["SLURM_DEV"]) / "state" / "job_state", time.time()
        until(lambda: kept.stat().st_mtime > now, "the controller to write its jobs down")
        self.run(DEV / "controller", "crash")
        self.run(DEV / "controller", "start")

    def state(self, job: str) -> str:
        """State of a job as its controller sees it."""
        fields = dict(f.split("=", 1) for f in self.run("scontrol", "-o", "show", "job", job).split() if "=" in f)
        return fields["JobState"]

    def idle(self) -> bool:
        """Say whether no job runs or waits."""
        return not self.run("squeue", "--noheader")


TINY = ["model.width=16", "model.layers=1", "model.heads=2", "model.mlp=16", "model.patch=16"]
TINY += ["data.image_size=32", "data.resize=32", "data.batch_size=8", "data.workers=1", "data.prefetch=1"]
TINY += ["run.log_every=2", "run.checkpoint_every=50"]


def step(run: Path) -> int:
    """Steps that a run has logged."""
    return int(JobFolder(run).metrics().get("step", 0))


def weights(run: Path) -> dict[str, Any]:
    """Every tensor of a run's last checkpoint, by name."""
    newest_checkpoint = max((run / "checkpoints").glob("step-*"))
    tensors: dict[str, Any] = {}
    for file in newest_checkpoint.glob("*.safetensors"):
        tensors |= load_file(file)
    return tensors


def same(first: Path, second: Path) -> bool:
    """Say whether two runs ended in the same weights, bit for bit."""
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def until(condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    """Wait for something that another process does; fail with `what` if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for: {what}"
        time.sleep(0.1)


def free_ports() -> int:
    """First of some ports that nobody listens on."""
    while True:
        first = random.randrange(12000, 29000, 20)
        try:
            for port in range(first, first + 20):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
