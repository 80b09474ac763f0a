"""`dsva doctor --nodes`: the job that examines nodes, queued, awaited and cleared away."""

import json
import time
from contextlib import suppress
from pathlib import Path

from launch.doctor.examination import Examination
from launch.doctor.finding import Asked, Finding
from launch.jobs.folder import JobFolder
from launch.slurm.batch import ClusterConfig
from launch.slurm.client import cancel, queued
from launch.submission import start
from shards.errors import UserError
from shards.progress import waiting

LOOK = 0.5
CLEARED = 30.0  # seconds for a job to leave the queue after it was cancelled


def examine_nodes(cluster: ClusterConfig, asked: Asked, seconds: float) -> list[Finding]:
    """Examine the nodes that Slurm gives, and return what was found on each.

    Args:
        cluster: what is asked of Slurm.
        asked: what the checks are given; the job's files lie in its scratch folder.
        seconds: in which all nodes must have answered, waiting in the queue included.

    Raises:
        UserError: Slurm refuses, or does not answer.
    """
    run = Path(asked.scratch) / "job"
    run.mkdir(parents=True)
    [queued_job] = start.queue([Examination(run, asked, cluster.nodes)], "dsva-doctor", run / "slurm", cluster, 1)
    job = queued_job.number
    try:
        state = _await(job, run, cluster.nodes, seconds)
        findings = [Finding(**one) for file in sorted(run.glob("findings-*.json")) for one in json.loads(file.read_text())]
        return [*findings, *_silent(run, job, cluster.nodes, state)]
    finally:
        _clear(job)


def _answers(run: Path) -> int:
    return len(list(run.glob("findings-*.json")))


def _await(job: str, run: Path, nodes: int, seconds: float) -> str:
    """Wait until all nodes have answered or none will any more; return what became of the job."""
    end, state = time.monotonic() + seconds, "queued"
    with waiting(f"job {job}: {state}") as update:
        while _answers(run) < nodes and state != "ended" and time.monotonic() < end:
            time.sleep(LOOK)
            name, why = queued().get(job, ("ENDED", ""))
            state = name.lower()
            update(f"job {job}: {state}" + (f" ({why})" if why not in ("", "None") else ""))
    return f"{state} after {seconds:.0f} s" if state != "ended" else state


def _silent(run: Path, job: str, nodes: int, state: str) -> list[Finding]:
    """Return a finding for nodes that have not answered."""
    missing = nodes - _answers(run)
    if not missing:
        return []
    failed = JobFolder(run).failed() or {}
    logs = sorted((run / "slurm").glob("*/*_log.out"))
    last = [line for log in logs for line in log.read_text(errors="replace").splitlines()[-1:]]
    said = "; ".join(
        filter(None, [f"{missing} of {nodes} nodes gave no answer: job {job} is {state}", failed.get("reason"), *last[:1]])
    )
    mend = "if it waits, give --wait more seconds or another --partition; if it ran, its folder is not shared by those nodes"
    return [Finding("nodes", "FAIL", said, mend)]


def _clear(job: str) -> None:
    """Take the job out of the queue, so that nothing writes into its folder any more."""
    with suppress(UserError):
        cancel([job])
        end = time.monotonic() + CLEARED
        while job in queued() and time.monotonic() < end:
            time.sleep(LOOK)
