"""Where processes stand, and where they meet."""

import json
import socket
from pathlib import Path

import pytest

from launch.jobs.rendezvous import Worker, meet, ports
from shards.errors import UserError

STEP = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}


def test_a_task_of_srun_and_its_restart() -> None:
    assert Worker.of(STEP) == Worker(5, 8, 1, "7", "7-0")
    assert Worker.of({**STEP, "SLURM_RESTART_COUNT": "2"}).start == "7-2"


def test_a_task_of_an_array_keeps_the_name_that_scontrol_knows() -> None:
    assert Worker.of({**STEP, "SLURM_ARRAY_JOB_ID": "6", "SLURM_ARRAY_TASK_ID": "3"}).job == "6_3"


def test_a_number_that_a_step_of_srun_has_left_over_is_no_place() -> None:
    assert Worker.of({"SLURM_PROCID": "3"}).rank == 0


def test_a_batch_script_is_alone() -> None:
    assert Worker.of({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}) == Worker(0, 1, 0, "7", "7-0")


def test_the_others_learn_the_address_and_local_ranks_follow_the_gpus(tmp_path: Path) -> None:
    first: dict[str, str] = {}
    other = {"CUDA_VISIBLE_DEVICES": "3"}
    store = meet(Worker(0, 2, 0, "1", "1-0"), tmp_path, first)
    assert meet(Worker(1, 2, 1, "1", "1-0"), tmp_path, other) is None
    assert store is not None
    assert (first["MASTER_ADDR"], first["MASTER_PORT"]) == (other["MASTER_ADDR"], other["MASTER_PORT"])
    assert (first["LOCAL_RANK"], other["LOCAL_RANK"]) == ("0", "0"), "one GPU of its own is number 0 on every rank"


def test_a_port_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    start = Worker(0, 2, 0, "1", "1-0")
    store = meet(start, tmp_path, {})
    taken = json.loads((tmp_path / "meeting-1-0.json").read_text())["port"]
    again = meet(start, tmp_path, {})
    assert json.loads((tmp_path / "meeting-1-0.json").read_text())["port"] != taken
    assert (store, again) != (None, None)


def test_ports_lie_below_those_of_connections() -> None:
    assert all(15000 <= port < 32768 for number in range(100) for port in ports(f"{number}-0", 32768))


def test_a_missing_rank_0_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rank 0 did not appear"):
        meet(Worker(1, 2, 1, "1", "1-0"), tmp_path, {}, seconds=0)


def test_one_process_meets_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    environment: dict[str, str] = {}
    assert meet(Worker(0, 1, 0, "1", "1-0"), tmp_path, environment) is None
    assert environment == {}
