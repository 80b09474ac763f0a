"""Where the processes of a run meet."""

import json
import socket
from pathlib import Path

import pytest

from dsva.processes.environment import ALONE, Position
from dsva.processes.rendezvous import FIRST_PORT, KERNEL, meet, ports
from shards.errors import UserError


def test_the_others_learn_the_address_and_local_ranks_follow_the_gpus(tmp_path: Path) -> None:
    first: dict[str, str] = {}
    other = {"CUDA_VISIBLE_DEVICES": "3"}
    store = meet(Position(0, 2, 0), "1-0", tmp_path, first)
    assert meet(Position(1, 2, 1), "1-0", tmp_path, other) is None
    assert store is not None
    assert (first["MASTER_ADDR"], first["MASTER_PORT"]) == (other["MASTER_ADDR"], other["MASTER_PORT"])
    assert (first["LOCAL_RANK"], other["LOCAL_RANK"]) == ("0", "0"), "one GPU of its own is number 0 on every rank"


def test_a_port_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    first = Position(0, 2, 0)
    store = meet(first, "1-0", tmp_path, {})
    taken = json.loads((tmp_path / "meeting-1-0.json").read_text())["port"]
    again = meet(first, "1-0", tmp_path, {})
    assert json.loads((tmp_path / "meeting-1-0.json").read_text())["port"] != taken
    assert (store, again) != (None, None)


def test_ports_lie_below_those_of_connections() -> None:
    for below in (KERNEL, 20000):
        assert all(FIRST_PORT <= port < below for number in range(100) for port in ports(f"{number}-0", below))


def test_a_missing_rank_0_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rank 0 did not appear"):
        meet(Position(1, 2, 1), "1-0", tmp_path, {}, seconds=0)


def test_one_process_meets_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    environment: dict[str, str] = {}
    assert meet(ALONE, "1-0", tmp_path, environment) is None
    assert environment == {}
