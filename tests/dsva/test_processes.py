"""What the environment says about processes."""

from pathlib import Path

import pytest
import torch

from dsva.processes import described, first_host, from_slurm, join, nccl_choices
from shards.errors import UserError

STEP = {"SLURM_JOB_ID": "12345", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "9", "SLURM_LOCALID": "1"}
STEP["SLURM_STEP_NODELIST"] = "gpu[03-04]"


def test_slurm_task_becomes_a_rank() -> None:
    assert from_slurm(STEP, gpus=8) == {
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": "22345",
    }


def test_a_gpu_of_ones_own_is_number_0() -> None:
    assert from_slurm(STEP, gpus=1)["LOCAL_RANK"] == "0"
    assert from_slurm(STEP, gpus=0)["LOCAL_RANK"] == "1"


@pytest.mark.parametrize("environment", [{}, {**STEP, "RANK": "0"}, {**STEP, "SLURM_STEP_NUM_TASKS": "1"}])
def test_slurm_is_left_alone_where_it_says_nothing(environment: dict[str, str]) -> None:
    assert from_slurm(environment, gpus=0) == {}


def test_batch_script_is_not_a_task() -> None:
    assert from_slurm({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, gpus=0) == {}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu7", "gpu7"),
        ("gpu7,gpu8", "gpu7"),
        ("gpu[03-05,9],login", "gpu03"),
        ("rack-[2,4]-n", "rack-2-n"),
        ("a.b.c[1-2].d", "a.b.c1.d"),
    ],
)
def test_first_host(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 is not below WORLD_SIZE=2"),
        ({"RANK": "0", "WORLD_SIZE": "two"}, "WORLD_SIZE='two' is not a number"),
    ],
)
def test_contradictions_are_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(UserError) as raised:
        join(environment, alone=False)
    assert named in str(raised.value)


def test_rtx_4090_is_told_not_to_reach_across(tmp_path: Path) -> None:
    gpus, infiniband = tmp_path / "gpus", tmp_path / "infiniband"
    assert nccl_choices(gpus, infiniband) == {}
    for number, model in enumerate(("H200", "GeForce RTX 4090")):
        (gpus / f"{number}").mkdir(parents=True)
        (gpus / f"{number}" / "information").write_text(f"Model: \t\t NVIDIA {model}\nIRQ: 1\n")
    assert nccl_choices(gpus, infiniband) == {"NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "1"}
    (infiniband / "mlx5_0").mkdir(parents=True)
    assert nccl_choices(gpus, infiniband)["NCCL_IB_DISABLE"] == "0"


def test_what_nccl_is_told_is_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_P2P_DISABLE", "1")
    monkeypatch.delenv("NCCL_IB_DISABLE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert described() == "NCCL is told NCCL_P2P_DISABLE=1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert described() == ""
