"""File systems without room, or away for a while: runs end with a reason, or go on."""

import errno
import json
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest

from dsva.exit_codes import MISTAKE
from dsva.processes.environment import ALONE
from launch.jobs import lease
from launch.jobs.folder import JobFolder
from launch.jobs.lease import Lease
from launch.jobs.worker import Worker
from launch.slurm import requeue
from launch.submission import job
from launch.submission.job import Job

WORKER = Worker(ALONE, "1", "1-0")


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process can be written to."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_run_that_finds_no_room_says_so_and_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(job, "_train", full)
    with pytest.raises(SystemExit, match="2"):
        Job(tmp_path)()
    folder = JobFolder(tmp_path)
    failed = folder.failed()
    assert failed
    assert failed["reason"].startswith(f"{tmp_path} cannot be written (No space left on device): make room there")
    assert failed["code"] == MISTAKE
    assert not requeue.may_restart(folder, "1-0", 1, 3, cancelled=False)


def test_a_reason_that_cannot_be_noted_is_in_the_output(tmp_path: Path, said: StringIO) -> None:
    folder = JobFolder(tmp_path)
    folder.path.mkdir()
    with no_room():
        folder.fail("the reason", 1)
    assert folder.failed() is None
    assert "the reason\nand this cannot be noted in" in said.getvalue()


def test_a_heart_goes_on_beating_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: StringIO) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    folder = JobFolder(tmp_path)
    with Lease(folder, WORKER):
        with no_room():
            time.sleep(0.1)
            before = folder.read("heartbeat.json")
        end = time.monotonic() + 30
        while folder.read("heartbeat.json") == before:
            assert time.monotonic() < end
    assert "no heartbeat in" in said.getvalue()
    with Lease(folder, WORKER) as again, no_room():
        again.release("ended")


def test_a_crash_that_cannot_be_counted_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs.json"
    runs.write_text(json.dumps([str(tmp_path)]))
    (tmp_path / "job").mkdir()
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setattr(requeue, "_cancelled", lambda job: False)
    with no_room(), pytest.raises(SystemExit, match=r"a process died of SIGKILL .* and this cannot be noted"):
        requeue.main(str(runs), "3", "137")
