"""What the job of `dsva doctor --nodes` does on each node: checks of its own, and those that need all nodes."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dsva.exit_codes import DONE
from dsva.files import write_atomically
from dsva.processes.environment import node_name
from launch.doctor.checks import SHARE, examine
from launch.doctor.finding import Asked, Finding
from launch.doctor.reduce import LIMIT, RANK, Ended, judge, run_within
from launch.jobs.worker import Worker

SEEN_WITHIN = 30.0  # seconds in which a file has to be seen by all nodes
SKEW = 1.0  # seconds between the clocks of two nodes


@dataclass(frozen=True)
class Examination:
    """The job; every task is one of the processes that reduce, and the first one of each node examines it.

    Attributes:
        run: folder of the job, which the nodes share: each leaves its findings there.
        asked: what the checks are given.
        nodes: how many there are.
    """

    run: Path
    asked: Asked
    nodes: int

    def __call__(self) -> int:
        """Return 0, whatever was found."""
        position = Worker.of(os.environ).position
        together = reduce_together(position.rank, self.run) if position.world_size > 1 else []
        if position.local_rank == 0:
            # Where all reduce together, so do two of one node; where they do not, that tells whose fault it is.
            known = ["all-reduce"] if any(finding.verdict == "OK" for finding in together) else []
            findings = [*together, seen_by_all(self.run / "seen", self.nodes), *examine(self.asked, without=known)]
            text = json.dumps([asdict(replace(finding, node=node_name())) for finding in findings])
            write_atomically(self.run / f"findings-{position.rank}.json", text)
        return DONE


def reduce_together(rank: int, folder: Path, limit: float = LIMIT, command: Sequence[str] = RANK) -> list[Finding]:
    """Take part in an all-reduce of all processes of the job, and say how it went and what the clocks differ by."""
    [ended] = run_within(limit, [[*command, str(folder), str(limit)]], [os.environ])
    found = judge("all-reduce over nodes", [ended], limit)
    return [found] if found.verdict == "FAIL" or rank else [found, clocks(ended)]


def clocks(ended: Ended) -> Finding:
    """Say whether the clocks of the processes that took part agree."""
    spread = float(json.loads(ended.printed.splitlines()[-1])["spread"])
    if spread > SKEW:
        mend = "set the clocks by NTP (chrony): logs, time stamps and Slurm's credentials go by them"
        return Finding("clocks of nodes", "WARN", f"differ by {spread:.1f} s", mend)
    return Finding("clocks of nodes", "OK", f"differ by {1000 * spread:.0f} ms at most")


def seen_by_all(folder: Path, nodes: int, seconds: float = SEEN_WITHIN) -> Finding:
    """Leave a file, and wait until those of all nodes are seen."""
    start = time.monotonic()
    folder.mkdir(exist_ok=True)
    (folder / node_name()).touch()
    while len(there := os.listdir(folder)) < nodes:  # noqa: PTH208 (listing looks afresh on network file systems)
        if time.monotonic() - start > seconds:
            said = f"after {seconds:.0f} s the files of {len(there)} of {nodes} nodes are seen: {', '.join(sorted(there))}"
            return Finding("shared folder", "FAIL", said, SHARE)
        time.sleep(0.1)
    return Finding("shared folder", "OK", f"files of {nodes} nodes seen within {time.monotonic() - start:.1f} s")
