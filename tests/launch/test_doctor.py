"""Each check of the doctor where something is wrong, and the whole where nothing is. 20 seconds."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from dsva.processes.rendezvous import port_limit, ports
from launch.cli.main import app
from launch.doctor import checks, disk, gpus, net, packages, reduce
from launch.doctor.checks import carry_out, carry_out_within
from launch.doctor.examination import clocks, seen_by_all
from launch.doctor.finding import Asked, Finding
from launch.doctor.reduce import Ended, judge
from launch.doctor.table import view, worst
from shards.errors import UserError
from shards.pack import pack
from shards.sources import open_source
from tests.helpers.drawn import draw

ROOT = Path(__file__).resolve().parents[2]
NOTHING = Asked("", "")


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(str(tmp_path), str(tmp_path / "scratch"))


@pytest.fixture
def shard_set(tmp_path: Path) -> Path:
    return pack(open_source(draw(tmp_path / "DATA", 12, ("Port", "River"))), tmp_path / "SET").shards.root


def test_missing_and_old_packages_are_named() -> None:
    found = packages.packages(NOTHING, ["no-such-package>=1", "numpy>=999", "rich>=13", 'torch>=999; extra == "geo"'])
    assert (found.verdict, found.mend) == ("FAIL", "pip install -c constraints.txt .")
    assert "no-such-package is missing; numpy is " in found.said
    assert ", needed >=999" in found.said
    assert "rich" not in found.said
    old = packages.packages(NOTHING, ['numpy>=999; extra == "geo"'])
    assert (old.verdict, old.said.split(" is ")[0]) == ("WARN", "optional: numpy")
    assert packages.packages(NOTHING, ['no-such-package; extra == "geo"']).said.endswith("not installed: no-such-package")


def test_an_old_python_is_refused() -> None:
    assert packages.python(NOTHING, "3.8.1", ">=3.11").verdict == "FAIL"
    assert packages.python(NOTHING).verdict == "OK"


def smi(tmp_path: Path, script: str) -> str:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_missing_gpus_and_a_driver_that_fails_are_told(tmp_path: Path) -> None:
    one = smi(tmp_path, "echo NVIDIA GeForce RTX 4090, 550.54")
    assert gpus.driver(Asked("", "", gpus=2), one).said == "1 GPUs, 2 asked for"
    assert gpus.driver(Asked("", "", gpus=1), one).said == "1 x NVIDIA GeForce RTX 4090, driver 550.54"
    assert gpus.driver(Asked("", "", gpus=1), "no-such-program").verdict == "FAIL"
    with pytest.raises(OSError, match="couldn't communicate"):
        gpus.driver(NOTHING, smi(tmp_path, 'echo "couldn\'t communicate"; exit 9'))


def test_copies_that_arrive_changed_are_noticed() -> None:
    devices = [torch.device("cpu"), torch.device("cpu", 0)]
    assert gpus.judge_copies(gpus.wrong_copies(devices), "").verdict == "OK"

    def flips(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        copied = tensor.to(device, copy=True)
        copied[-1] ^= int(device.index == 0)
        return copied

    found = gpus.judge_copies(gpus.wrong_copies(devices, flips), "")
    assert (found.verdict, found.said[:33]) == ("FAIL", "copies arrive changed: cpu to cpu")
    assert "NCCL_P2P_DISABLE=1" in found.mend


def test_a_partner_that_hangs_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "rank.py"
    program.write_text(
        "import os, runpy, sys, time\n"
        f"open('{tmp_path}/pid' + os.environ['RANK'], 'w').write(str(os.getpid()))\n"
        "time.sleep(600) if os.environ['RANK'] == '1' else runpy.run_module('launch.doctor.rank', run_name='__main__')\n"
    )
    found = reduce.all_reduce(NOTHING, 6, [sys.executable, str(program)])
    assert (found.verdict, found.said) == ("FAIL", "no end within 6 s")
    for rank in "01":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"pid{rank}").read_text()), 0)


def test_a_wrong_sum_and_a_crash_are_failures() -> None:
    told = {"ranks": 2, "backend": "nccl", "right": False, "seconds": 1.0, "mebibytes": 16, "spread": 0.0}
    assert judge("x", [Ended(0, json.dumps(told), "")], 9).said == "the sum is wrong"
    assert judge("x", [Ended(1, "", "Traceback\nRuntimeError: no network")], 9).said == "RuntimeError: no network"


@pytest.mark.parametrize("name", ["renames", "locks", "write speed", "clock"])
def test_a_folder_that_cannot_be_written_is_told(name: str) -> None:
    found = carry_out(name, Asked("/proc", "/proc/scratch"))
    assert found.verdict == "FAIL"
    assert "/proc/scratch" in found.said
    assert "--folder" in found.mend


def test_renames_that_are_not_one_step_are_noticed(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk.rename(asked).verdict == "OK"

    def by_halves(self: Path, target: Path) -> None:
        target.write_bytes(b"")
        time.sleep(0.001)
        target.write_bytes(self.read_bytes())

    monkeypatch.setattr(Path, "replace", by_halves)
    monkeypatch.setattr(disk, "RENAMES", 20)
    assert "saw half a file" in disk.rename(asked).said


def no_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize(
    ("flock", "verdict", "said"), [(no_locks, "FAIL", "cannot be locked"), (lambda *_: None, "WARN", "the same lock")]
)
def test_without_locks_no_run_starts_and_locks_that_hold_nobody_are_a_warning(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, flock: Callable[..., None], verdict: str, said: str
) -> None:
    assert disk.locks(asked).verdict == "OK"
    monkeypatch.setattr(fcntl, "flock", flock)
    found = disk.locks(asked)
    assert found.verdict == verdict
    assert said in found.said


def test_a_slow_disk_and_a_wrong_clock_are_warnings(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "WRITTEN", 1 << 22)
    assert disk.speed(asked, slow=1e9).verdict == "WARN"
    assert disk.clock(asked).verdict == "OK"
    for ahead in (60, -60):
        assert disk.clock(asked, ahead).said == "differs from the file system's by 60.0 s"


def test_taken_ports_are_told() -> None:
    with socket.create_server(("", 0)) as server:
        taken = server.getsockname()[1]
        assert net.open_ports(NOTHING, [taken]).verdict == "FAIL"
        assert net.open_ports(NOTHING, [taken, taken, *ports("a", port_limit())][:3]).verdict == "WARN"


def test_a_name_that_leads_nowhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "no-such-host.invalid")
    found = carry_out("ports", NOTHING)
    assert (found.verdict, "/etc/hosts" in found.mend) == ("FAIL", True)


def flip(tar: Path) -> None:
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda tar: os.truncate(tar, 5000), "damaged: shard-000000.tar"),
        (flip, "damaged: shard-000000.tar (River/"),
        (lambda tar: tar.unlink(), "No such file"),
        (lambda tar: (tar.parent / "keys.txt").unlink(), "does not match set.json"),
    ],
)
def test_a_damaged_shard_set_is_told(shard_set: Path, damage: Callable[[Path], None], said: str) -> None:
    asked = Asked("", "", str(shard_set))
    assert carry_out("shards", asked).verdict == "OK"
    damage(shard_set / "shard-000000.tar")
    found = carry_out("shards", asked)
    assert found.verdict == "FAIL"
    assert said in found.said


def test_a_check_that_hangs_is_ended(shard_set: Path) -> None:
    tar = shard_set / "shard-000000.tar"
    tar.unlink()
    os.mkfifo(tar)  # whoever opens it waits for a writer
    found = carry_out_within("shards", Asked("", "", str(shard_set)), 3)
    assert (found.verdict, found.said) == ("FAIL", "no answer within 3 s")


def test_a_check_that_breaks_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('broken')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    found = carry_out_within("locks", NOTHING)
    assert (found.verdict, found.said) == ("FAIL", "the check broke off: RuntimeError: broken")


def test_nodes_that_do_not_see_each_other_and_clocks_that_differ(tmp_path: Path) -> None:
    found = seen_by_all(tmp_path / "seen", 2, 0.2)
    assert found.verdict == "FAIL"
    assert "1 of 2 nodes" in found.said
    (tmp_path / "seen" / "other").touch()
    assert seen_by_all(tmp_path / "seen", 2, 0.2).verdict == "OK"
    assert clocks(Ended(0, '{"spread": 7.25}', "")).verdict == "WARN"
    assert clocks(Ended(0, '{"spread": 0.0125}', "")).said == "differ by 12 ms at most"


def test_alike_findings_of_nodes_are_one_line() -> None:
    findings = [Finding("ports", "OK", "20 of 20", "", f"node{number}") for number in range(6)]
    findings.append(Finding("ports", "FAIL", "0 of [20]", "look", "node9"))
    console = Console(width=120, file=StringIO())
    with console.capture() as captured:
        console.print(view(findings))
    text = captured.get()
    assert "node0 and 5 more nodes" in text
    assert "0 of [20]" in text
    assert (worst(findings), worst(findings[:6]), worst([])) == ("FAIL", "OK", "OK")


def test_the_command_says_all_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = CliRunner().invoke(app, ["doctor", "--folder", str(tmp_path), "--json"])
    answer = json.loads(ran.stdout)
    assert [finding["check"] for finding in answer["findings"]] == [name for name in checks.CHECKS if name != "shards"]
    assert (ran.exit_code, answer["verdict"] == "FAIL") == (0, False), answer
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(checks, "CHECKS", {"renames": checks.CHECKS["renames"]})
    ran = CliRunner().invoke(app, ["doctor", "--folder", "/proc"])
    assert ran.exit_code == 2
    assert "FAIL" in ran.stdout


def test_nodes_that_cannot_be_asked_for_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", {"renames": checks.CHECKS["renames"]})
    with monkeypatch.context() as without:
        without.setenv("PATH", "/nowhere")
        assert "no Slurm answers here" in str(CliRunner().invoke(app, ["doctor", "--nodes=2"]).exception)
    monkeypatch.setattr("launch.submission.start.decide", str)
    useless = CliRunner().invoke(app, ["doctor", "--folder", "/proc", "--nodes=2"])
    assert (useless.exit_code, "not examined" in useless.stdout) == (2, True)

    def refuse(*_: object) -> None:
        raise UserError("sbatch refuses: invalid partition")

    monkeypatch.setattr("launch.submission.start.queue", refuse)
    refused = CliRunner().invoke(app, ["doctor", "--folder", str(tmp_path), "--nodes=2", "--json"])
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["findings"][-1]["said"] == "sbatch refuses: invalid partition"
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_of_the_command_line_there_is_still_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError(\"No module named 'typer'\")")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    ran = subprocess.run([sys.executable, "-m", "launch.doctor"], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("FAIL packages: No module named 'typer': install")


def test_a_mistake_is_a_sentence_by_itself_too() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DSVA_LOG": "loud"}
    ran = subprocess.run([sys.executable, "-m", "launch.doctor"], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert "DSVA_LOG='loud'" in ran.stderr
