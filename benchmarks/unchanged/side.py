"""One checkout at work: runs the jobs in a folder of its own and returns what came of them."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.unchanged.facts import Facts, read_facts
from benchmarks.unchanged.inputs import make_inputs
from benchmarks.unchanged.jobs import COMMANDS, STAGES, Job

AT_ONCE = 2  # jobs
SECONDS = 1800  # that a job may take
UNKNOWN = ("No such command", "No such option")
OTHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_", "SLURM", "DSVA_", "ACCELERATE_", "PYTHON")


@dataclass(frozen=True)
class Checkout:
    """A checkout of the project and the interpreter that runs it."""

    root: Path
    python: Path

    def environment(self) -> dict[str, str]:
        """Return the environment of a job: this very code, one thread, no accelerator, nothing that a shell has left over."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
        own = {
            "PYTHONPATH": str(self.root),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "COLUMNS": "200",
            "HF_HUB_OFFLINE": "1",
        }
        return {**kept, **own}

    def check(self) -> None:
        """End the program unless the interpreter imports the packages of this checkout."""
        said = subprocess.run(
            [str(self.python), "-c", "import dsva; print(dsva.__file__)"],
            env=self.environment(),
            cwd="/",  # the folder that it is started in comes before all others
            capture_output=True,
            text=True,
            check=False,
        )
        if said.returncode or not Path(said.stdout.strip()).resolve().is_relative_to(self.root):
            sys.exit(f"{self.python} does not import dsva from {self.root}: {said.stdout.strip() or said.stderr.strip()[-300:]}")


class Side:
    """A checkout in a new folder; `old` is a folder with what an older checkout has left for it, None if it leaves it itself."""

    def __init__(self, checkout: Checkout, folder: Path, old: Path | None = None) -> None:
        checkout.check()
        self._checkout, self._folder, self._old = checkout, folder.resolve(), old
        self.exits: dict[str, int] = {}
        self._stops: Facts = {}

    def facts(self) -> Facts:
        """Make the inputs, run all jobs, and return the facts."""
        begun = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        inputs = make_inputs(self._folder)
        for number, stage in enumerate(STAGES):
            if number == len(STAGES) - 1:
                old = self._old or leave(self._folder, self._folder / "left")
                shutil.copytree(old, self._folder / "out" / "old")
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for job, code in zip(stage, pool.map(self._do, stage), strict=True):
                    self.exits[job.name] = code
            print(f"{self._checkout.root}: stage {number + 1} of {len(STAGES)}, {time.monotonic() - begun:.0f} s", flush=True)
        exits = {f"exit codes: {name}": code for name, code in self.exits.items()}
        return {"inputs: sha256": inputs, **exits, **self._stops, **read_facts(self._folder)}

    def _do(self, job: Job) -> int:
        """Run a job by the first spelling that the checkout knows; return its exit code."""
        name, _, rest = job.command.partition(" ")
        for spelling in COMMANDS[name]:
            arguments = [*spelling.split(), *shlex.split(rest)]
            if job.interrupted:
                self._stops[f"exit codes: {job.name} by SIGTERM"], _ = self._start(arguments, job, job.interrupted)
            code, said = self._start(arguments, job)
            if not any(word in said for word in UNKNOWN):
                break
        if code:
            print(f"{self._checkout.root}: {job.name} ended with {code}:\n{said[-2000:]}", flush=True)
        return code

    def _start(self, arguments: Sequence[str], job: Job, until: str = "") -> tuple[int, str]:
        """Start a command in its processes, as torchrun would; send SIGTERM once the file `until` is there.

        Returns:
            Rank 0's exit code, and what it printed.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        together = {"WORLD_SIZE": f"{job.processes}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
        log = self._folder / "logs" / job.name.replace(" ", "-")
        log.parent.mkdir(exist_ok=True)
        ranks: list[subprocess.Popen[bytes]] = []
        for number in range(job.processes):
            own = {**together, "RANK": f"{number}", "LOCAL_RANK": f"{number}"} if job.processes > 1 else {}
            with Path(f"{log}-{number}.out").open("wb") as out, Path(f"{log}-{number}.err").open("wb") as errors:
                command = [str(self._checkout.python), "-m", "launch", *arguments]
                environment = {**self._checkout.environment(), **own}
                ranks.append(subprocess.Popen(command, cwd=self._folder, env=environment, stdout=out, stderr=errors))
        end = time.monotonic() + SECONDS
        while until and not (self._folder / until).exists() and ranks[0].poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        try:
            if until:
                ranks[0].terminate()
            codes = [rank.wait(max(end - time.monotonic(), 1)) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        said = Path(f"{log}-0.out").read_text(errors="replace")
        if job.saved:
            (self._folder / job.saved).write_text(said)
        return codes[0], said + Path(f"{log}-0.err").read_text(errors="replace")


def leave(folder: Path, to: Path) -> Path:
    """Copy from a side's folder what a later checkout has to be able to read: a set, a run, and runs cut off before their end.

    Returns:
        The new folder `to`, which holds the copies.
    """
    out = folder / "out"
    shutil.copytree(out / "sets" / "folders", to / "set")
    for name in ("run", "cut", "cut-zero3"):
        shutil.copytree(out / "runs" / "left", to / name)
        if name != "run":  # as a kill in the last steps leaves a run
            shutil.rmtree(to / name / "checkpoints" / "step-00000012")
            for file in ("results.json", "decisions.safetensors"):
                (to / name / file).unlink()
    return to
