"""The development cluster of slurm/dev for a benchmark: up in a folder of its own, this process its user, down at the end."""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEV = ROOT / "slurm" / "dev"


@contextmanager
def dev_cluster() -> Iterator[None]:
    """Start the cluster; programs that this process starts find it, and this checkout's code."""
    folder = tempfile.mkdtemp(prefix="slurm-")
    os.environ |= {"SLURM_DEV": folder, "SLURM_CONF": f"{folder}/etc/slurm.conf", "PORT": f"{random.randrange(12000, 25000, 20)}"}
    os.environ |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin", "PYTHONPATH": str(ROOT)}
    # The nodes share one machine: threads would only wait for each other.
    os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    try:
        say(DEV / "up")
        yield
    finally:
        say(DEV / "down", "--remove")


def say(*command: object) -> str:
    """Run a command; return what it printed, leave with what it said where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def dsva(*arguments: object) -> str:
    """Run `dsva ARGUMENTS`; return what it printed."""
    return say(sys.executable, "-m", "launch", *arguments)
