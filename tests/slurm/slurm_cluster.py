"""The real Slurm that the tests run on."""

import random
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
            [str(c) for c in command], env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def node(self, action: str, name: str) -> None:
        """Make a node fail or come back, see slurm/dev/node."""
        self.run(DEV / "node", action, name)

    def state(self, job: str) -> str:
        """State of a job as its controller sees it."""
        fields = dict(f.split("=", 1) for f in self.run("scontrol", "-o", "show", "job", job).split() if "=" in f)
        return fields["JobState"]


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
