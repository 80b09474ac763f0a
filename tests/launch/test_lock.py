"""Locks on folders: who holds one, and file systems that keep none."""

import errno
import fcntl
from pathlib import Path

import pytest

from dsva.run_directory import LOCK
from launch.jobs.lock import alone, await_earlier
from shards.errors import UserError


def test_one_command_at_a_time(tmp_path: Path) -> None:
    again = pytest.raises(UserError, match=r"another command is at work on .*: wait for it")
    with alone(tmp_path / "new"), again, alone(tmp_path / "new"):
        pass
    with alone(tmp_path / "new"):
        pass


def test_a_file_system_without_locks_is_not_taken_for_another_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    said = r"cannot be locked \(No locks available\): give a folder on a file system with locks"
    with pytest.raises(UserError, match=said), alone(tmp_path):
        pass


def test_a_process_that_an_earlier_start_has_left_is_waited_for(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="a process of an earlier start still holds"):
            await_earlier(tmp_path, seconds=0.1)
    await_earlier(tmp_path, seconds=10)
