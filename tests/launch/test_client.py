"""What Slurm says of its queue, and what it is told."""

from pathlib import Path

import pytest

from launch.slurm.client import HELD, array_limit, queued, release_held
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
