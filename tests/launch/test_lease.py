"""No run is worked on twice at once; what ended or died is followed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dsva.exit_codes import OVERTAKEN
from dsva.processes.environment import ALONE
from launch.jobs import lease
from launch.jobs.folder import JobFolder
from launch.jobs.lease import Lease
from launch.jobs.worker import Worker
from shards.errors import UserError


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.02)
    monkeypatch.setattr(lease, "STOPPED", 0.5)


def worker(job: str, restart: int = 0) -> Worker:
    return Worker(ALONE, job, f"{job}-{restart}")


def test_a_living_holder_is_not_followed(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    with Lease(folder, worker("1")), pytest.raises(UserError, match=r"is being worked on by job 1 on .* \(generation 1\)"):
        Lease(folder, worker("2"))


def test_an_ended_holder_is_followed_at_once(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    with Lease(folder, worker("1")):
        pass
    with Lease(folder, worker("2")) as second:
        assert second.generation == 2


def test_a_later_start_of_the_same_job_follows(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    Lease(folder, worker("1"))
    assert Lease(folder, worker("1", 1)).generation == 2


def test_a_heart_that_stopped_on_another_node_is_followed(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    held = Lease(folder, worker("1"))
    (tmp_path / "job" / "generation-000001.json").write_text(json.dumps({"job": "1", "host": "elsewhere", "pid": 1}))
    folder.write("heartbeat.json", generation=held.generation, beat=9, state="running", start="1-0")
    assert Lease(folder, worker("2")).generation == 2


def test_whoever_was_overtaken_leaves(tmp_path: Path) -> None:
    program = f"""
import sys, threading
from pathlib import Path
from launch.jobs import lease
from launch.jobs.folder import JobFolder
from launch.jobs.worker import Worker
from dsva.processes.environment import ALONE
lease.BEAT = 0.02
with lease.Lease(JobFolder(Path({str(tmp_path)!r})), Worker(ALONE, "1", "1-0")):
    print("holds", flush=True)
    threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "holds\n"
        assert Lease(JobFolder(tmp_path), worker("1", 1)).generation == 2
        assert holder.wait(timeout=60) == OVERTAKEN


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.path.mkdir()
    assert [lease._create(folder, 1, worker(str(number))) for number in range(5)] == [True, False, False, False, False]
