"""No run is worked on twice at once; what ended or died is followed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from launch import claim
from launch.claim import OVERTAKEN, Claim
from launch.folder import JobFolder
from launch.place import Place
from shards.errors import UserError


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "BEAT", 0.02)
    monkeypatch.setattr(claim, "STOPPED", 0.5)


def place(job: str, restart: int = 0) -> Place:
    return Place(0, 1, 0, job, f"{job}-{restart}")


def test_a_living_holder_is_not_followed(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    with Claim(folder, place("1")), pytest.raises(UserError, match=r"is being worked on by job 1 on .* \(generation 1\)"):
        Claim(folder, place("2"))


def test_an_ended_holder_is_followed_at_once(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    with Claim(folder, place("1")):
        pass
    with Claim(folder, place("2")) as second:
        assert second.generation == 2


def test_a_later_start_of_the_same_job_follows(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    Claim(folder, place("1"))
    assert Claim(folder, place("1", 1)).generation == 2


def test_a_heart_that_stopped_on_another_node_is_followed(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    held = Claim(folder, place("1"))
    (tmp_path / "job" / "generation-000001.json").write_text(json.dumps({"job": "1", "host": "elsewhere", "pid": 1}))
    folder.write("heartbeat.json", generation=held.generation, beat=9, state="running", start="1-0")
    assert Claim(folder, place("2")).generation == 2


def test_whoever_was_overtaken_leaves(tmp_path: Path) -> None:
    program = f"""
import sys, threading
from pathlib import Path
from launch import claim
from launch.folder import JobFolder
from launch.place import Place
claim.BEAT = 0.02
with claim.Claim(JobFolder(Path({str(tmp_path)!r})), Place(0, 1, 0, "1", "1-0")):
    print("holds", flush=True)
    threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "holds\n"
        assert Claim(JobFolder(tmp_path), place("1", 1)).generation == 2
        assert holder.wait(timeout=60) == OVERTAKEN


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.path.mkdir()
    assert [claim._create(folder, 1, place(str(number))) for number in range(5)] == [True, False, False, False, False]
