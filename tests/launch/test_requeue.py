"""What follows when the processes of a job end otherwise than well."""

from pathlib import Path

from dsva.exit_codes import HUNG
from launch.jobs.folder import JobFolder
from launch.slurm.requeue import described, may_restart
from tests.helpers.jobs import note


def test_crashes_without_progress_are_counted_and_end(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    assert [may_restart(folder, "1-0", 137, 2, False) for _ in range(3)] == [True, True, False]
    assert folder.failed()
    assert "crashed 3 times, the last time: a process died of SIGKILL" in note(folder, "failed.json")["reason"]


def test_progress_begins_the_count_anew(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    for step in range(1, 6):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
        assert may_restart(folder, "1-0", 137, 1, False)


def test_mistakes_and_wishes_to_stop_are_final(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.fail("data.shards is wrong", 2)
    assert not may_restart(folder, "1-0", 2, 3, False)
    folder.fail("stopped by SIGTERM and saved at step 3", 143)
    assert not may_restart(folder, "1-0", 143, 3, cancelled=True)
    assert note(folder, "failed.json")["reason"] == "stopped by SIGTERM and saved at step 3"


def test_a_start_that_is_queued_again_already_is_left_alone(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.write("heartbeat.json", state="requeued", start="1-0")
    assert not may_restart(folder, "1-0", 255, 3, False)
    assert may_restart(folder, "1-1", 255, 3, False), "another start of it is another matter"


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.write("done.json")
    assert not may_restart(folder, "1-0", 137, 3, False)


def test_exit_codes_in_words() -> None:
    assert described(137) == "a process died of SIGKILL (often: out of memory)"
    assert described(139) == "a process died of SIGSEGV"
    assert described(3) == "a process ended with exit code 3"


def test_a_step_that_was_ended_without_its_job_starts_again(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.fail("stopped by SIGTERM and saved at step 3", 143)
    assert may_restart(folder, "1-0", 143, 3, cancelled=False)


def test_a_run_that_hung_starts_again(tmp_path: Path) -> None:
    assert may_restart(JobFolder(tmp_path), "1-0", HUNG, 3, False)
    assert "the run got no further" in described(HUNG)
