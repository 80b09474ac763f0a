"""What Slurm says of its queue, and what it is told."""

from pathlib import Path

import pytest

from launch.slurm.client import (
    HELD,
    accounted,
    answers,
    array_limit,
    cancel,
    is_cancelled,
    is_preempted,
    queued,
    release_held,
    requeue,
)
from shards.errors import UserError

QUEUE = f"""7_0|RUNNING|None
7_1|PENDING|{HELD}
7_2|PENDING|JobHeldUser
8_0|PENDING|{HELD}"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs named like Slurm's; the file to which scontrol writes what it was told."""
    for name, text in {"squeue": f"cat << EOF\n{QUEUE}\nEOF", "scontrol": f'echo "$@" >> {tmp_path / "told"}'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "told"


def test_what_slurm_holds_after_a_node_refused_it_is_released_and_what_its_user_holds_is_not(slurm: Path) -> None:
    assert queued()["7_2"] == ("PENDING", "JobHeldUser")
    assert release_held({"7"}) == 1
    assert slurm.read_text() == "release 7_1\n"


@pytest.mark.parametrize(
    ("lines", "limit"),
    [
        ("MaxArraySize            = 1001\nSchedulerParameters     = bf_interval=1", 1001),
        ("MaxArraySize            = 1001\nSchedulerParameters     = bf_interval=1,max_array_tasks=5,sched_interval=1", 5),
        ("MaxArraySize            = 0", 1),
    ],
)
def test_how_many_jobs_fit_into_an_array(slurm: Path, lines: str, limit: int) -> None:
    (slurm.parent / "scontrol").write_text(f"#!/bin/sh\ncat << EOF\n{lines}\nEOF\n")
    assert array_limit() == limit


def test_what_a_shell_says_of_listing_jobs_is_not_listened_to(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (slurm.parent / "squeue").write_text("#!/bin/sh\n[ -n \"$SQUEUE_STATES$SQUEUE_PARTITION\" ] || echo '7|RUNNING|None'\n")
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    monkeypatch.setenv("SQUEUE_PARTITION", "other")
    assert queued() == {"7": ("RUNNING", "None")}


def test_silence_is_no_empty_queue(slurm: Path) -> None:
    (slurm.parent / "squeue").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UserError, match="squeue does not answer"):
        queued()


def say(slurm: Path, program: str, text: str) -> None:
    """Have a program print this text, after it was noted what it was told."""
    (slurm.parent / program).write_text(f'#!/bin/sh\necho {program} "$@" >> {slurm}\ncat << EOF\n{text}\nEOF\n')
    (slurm.parent / program).chmod(0o755)


def test_jobs_are_ended_and_queued_again(slurm: Path) -> None:
    say(slurm, "scancel", "")
    cancel(["7_1", "8"])
    requeue("7_0")
    assert slurm.read_text() == "scancel 7_1 8\nrequeue 7_0\n"


def test_the_accounts_are_asked_for_whole_arrays_and_may_not_be_kept(slurm: Path) -> None:
    assert accounted([]) == {}
    assert accounted(["7_0"]) == {}, "no program of that name"
    say(slurm, "sacct", "7_0|TIMEOUT\n7_1|CANCELLED by 0\n8|COMPLETED")
    assert accounted(["7_1", "8", "7_0"]) == {"7_0": "TIMEOUT", "7_1": "CANCELLED by 0", "8": "COMPLETED"}
    assert "--jobs=7,8 " in slurm.read_text()


@pytest.mark.parametrize(
    ("shown", "cancelled", "preempted"),
    [
        ("JobId=7 JobState=CANCELLED PreemptTime=None", True, False),
        ("JobId=7 JobState=COMPLETING PreemptTime=2026-01-01T00:00:00", False, True),
        ("JobId=7 JobState=RUNNING PreemptTime=Unknown", False, False),
        ("JobId=7 JobState=RUNNING", False, False),
    ],
)
def test_why_a_job_ends(slurm: Path, shown: str, cancelled: bool, preempted: bool) -> None:
    say(slurm, "scontrol", shown)
    assert (is_cancelled("7"), is_preempted("7")) == (cancelled, preempted)
    assert slurm.read_text() == "scontrol -o show job 7\n" * 2


def test_a_controller_that_is_away_answers_nothing(slurm: Path) -> None:
    assert answers()
    (slurm.parent / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    assert not answers()
    assert not is_preempted("7")
    with pytest.raises(UserError, match="scontrol does not answer"):
        is_cancelled("7")
