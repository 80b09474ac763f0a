"""What the environment says about processes."""

from pathlib import Path

import pytest
import torch

from dsva.processes.environment import ALONE, first_host, position
from dsva.processes.joining import described, join, nccl_choices, set_environment
from dsva.processes.rendezvous import from_slurm, ports
from shards.errors import UserError

STEP = {"SLURM_JOB_ID": "12345", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "9", "SLURM_LOCALID": "1"}
STEP["SLURM_STEP_NODELIST"] = "gpu[03-04]"


def test_slurm_task_becomes_a_rank() -> None:
    assert from_slurm(STEP, gpus=8) == {
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": str(next(ports("12345.0"))),
    }


def test_a_gpu_of_ones_own_is_number_0() -> None:
    assert from_slurm(STEP, gpus=1)["LOCAL_RANK"] == "0"
    assert from_slurm(STEP, gpus=0)["LOCAL_RANK"] == "1"


@pytest.mark.parametrize("environment", [{}, {**STEP, "RANK": "0", "WORLD_SIZE": "1"}, {**STEP, "SLURM_STEP_NUM_TASKS": "1"}])
def test_slurm_is_left_alone_where_it_says_nothing(environment: dict[str, str]) -> None:
    assert from_slurm(environment, gpus=0) == {}


@pytest.mark.parametrize("left", ["RANK", "WORLD_SIZE", "LOCAL_RANK"])
def test_one_variable_that_a_shell_has_left_over_does_not_hide_slurm(left: str) -> None:
    assert from_slurm({**STEP, left: "1"}, gpus=0) == from_slurm(STEP, gpus=0)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({"SLURM_STEP_NUM_TASKS": "2"}, r"SLURM_STEP_NUM_TASKS=2 without SLURM_PROCID and .*: start with srun, or unset"),
        ({"SLURM_STEP_NUM_TASKS": ""}, r"SLURM_STEP_NUM_TASKS='' is not a number: correct it, or leave it unset"),
        ({**STEP, "SLURM_LOCALID": "x"}, r"SLURM_LOCALID='x' is not a number"),
    ],
)
def test_what_srun_left_over_is_told(left: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        from_slurm(left, gpus=0)


def test_an_address_that_a_batch_script_has_chosen_is_kept() -> None:
    told = from_slurm({**STEP, "MASTER_ADDR": "first", "MASTER_PORT": "7"}, gpus=0)
    assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("first", "7")


@pytest.mark.parametrize(
    "left", [{}, {"LOCAL_RANK": "3"}, {"WORLD_SIZE": "1"}, {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "-1"}]
)
def test_one_process_is_alone_whatever_is_left_over(left: dict[str, str]) -> None:
    environment = {**left, "PMI_SIZE": "4", "OMPI_COMM_WORLD_SIZE": "2", "MASTER_ADDR": "elsewhere"}
    assert position(environment) == ALONE
    before = dict(environment)
    with set_environment(environment):
        assert join(environment, alone=False) == 1
        assert environment == {"MASTER_ADDR": "elsewhere"}
    assert environment == before
    assert not torch.distributed.is_initialized()


def test_what_packages_have_set_besides_is_gone_after_the_block() -> None:
    environment = {**STEP, "ACCELERATE_USE_FSDP": "true"}
    before = dict(environment)
    with pytest.raises(KeyError), set_environment(environment):  # noqa: PT012
        assert environment["RANK"] == "9"
        assert "ACCELERATE_USE_FSDP" not in environment
        environment["ACCELERATE_MIXED_PRECISION"] = "no"
        raise KeyError
    assert environment == before


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
        ("gpu[01-02]-ib[0-3]", "gpu01-ib0"),
        ("rack[1-2]n[01-16]", "rack1n01"),
        ("a[1,3-5],b2", "a1"),
        ("x[1-2][3-4]", "x13"),
        ("[008-012]", "008"),
        ("tux[0-1]-[00-01]x[5,7],tux9", "tux0-00x5"),
    ],
)
def test_first_host(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize("nodes", ["", ",gpu1", "gpu[", "gpu[1-2", "gpu[]", "gpu[1-]", "gpu]1", "gpu 1"])
def test_what_is_no_list_of_nodes_is_said(nodes: str) -> None:
    with pytest.raises(UserError, match="names no host"):
        first_host(nodes)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "RANK=2 is not below WORLD_SIZE=2"),
        ({"RANK": "0", "WORLD_SIZE": "two", "LOCAL_RANK": "0"}, "WORLD_SIZE='two' is not a number"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 without RANK and LOCAL_RANK: set all three"),
        ({"RANK": "1"}, "RANK=1 without WORLD_SIZE and LOCAL_RANK"),
    ],
)
def test_contradictions_are_named(environment: dict[str, str], named: str) -> None:
    before = dict(environment)
    with pytest.raises(UserError) as raised, set_environment(environment):
        pytest.fail("joined")
    assert named in str(raised.value)
    assert environment == before


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
