"""Checkpoints: written whole or not at all, checked, kept, fallen back from; disks that are full; ranks that die."""

import hashlib
import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from dsva.config import Config, RunConfig
from dsva.processes.ranks import Ranks
from dsva.run_directory import CHECKPOINTS
from dsva.runs.checkpoint import MODEL, Checkpoint, best, newest
from dsva.runs.checkpoint_format import BEST, COMPLETE, DamagedError, State, described, stored
from dsva.runs.checkpoint_match import whose
from dsva.train.saving import Saver, write_safetensors
from tests.helpers.drawn import ATTRIBUTES
from tests.helpers.process_groups import FILE_LIMIT, SLOW, GroupServer
from tests.helpers.small_runs import SIZES, small_set

FULL = 60_000  # bytes: less than a checkpoint of these tests


def state(step: int, score: float | None = None) -> State:
    return whose(Config(), {"data.shards": "digest"}, 1, None).model_copy(update={"step": step, "score": score})


def weights(step: int) -> list[tuple[str, Tensor]]:
    return [(f"{MODEL}/w", torch.full((100, 200), float(step))), (f"{MODEL}/b", torch.tensor(step))]


def saver(folder: Path, **changes: object) -> Saver:
    return Saver(folder, Ranks(), RunConfig.model_validate(changes))


def steps(folder: Path, prefix: str = "step-") -> list[int]:
    return [checkpoint.step for checkpoint in stored(folder / CHECKPOINTS, prefix)]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow beyond `FULL` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)
kinds = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])


@given(st.dictionaries(st.text(max_size=9), st.tuples(shapes, kinds), max_size=5))
def test_files_are_safetensors(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, tuple[tuple[int, ...], torch.dtype]]
) -> None:
    tensors = {
        name: torch.ones(shape).cumsum(0).to(kind) if shape else torch.tensor(1, dtype=kind)
        for name, (shape, kind) in wanted.items()
    }
    tensors.pop("__metadata__", None)
    path = tmp_path_factory.mktemp("file") / "a.safetensors"
    facts = write_safetensors(path, tensors)
    read = load_file(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors.items())
    assert facts == {"name": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_the_newest_and_every_nth_are_kept(tmp_path: Path) -> None:
    keeping = saver(tmp_path, keep=2, keep_every=4)
    for step in range(1, 11):
        assert keeping.save(state(step), weights(step))
    assert steps(tmp_path) == [10, 9, 8, 4]
    assert {path.name[:5] for path in (tmp_path / CHECKPOINTS).iterdir()} == {"step-"}


def test_a_damaged_newer_one_takes_nobodys_place(tmp_path: Path) -> None:
    keeping = saver(tmp_path, keep=1)
    keeping.save(state(2), weights(2))
    keeping.save(state(9), weights(9))
    (tmp_path / CHECKPOINTS / "step-00000009" / "COMPLETE").unlink()
    keeping.save(state(3), weights(3))
    assert steps(tmp_path) == [9, 3]
    found, _ = newest(tmp_path / CHECKPOINTS)
    assert found
    assert found.step == 3


def test_the_best_is_kept_by_hard_link(tmp_path: Path) -> None:
    keeping = saver(tmp_path, keep=1)
    for step, score in enumerate((10.0, 30.0, 20.0, None), 1):
        keeping.save(state(step, score), weights(step))
        if step == 2:
            links = [file.stat().st_nlink for file in (tmp_path / CHECKPOINTS / "step-00000002").iterdir()]
    assert links == [2, 2, 2]
    assert (steps(tmp_path), steps(tmp_path, BEST)) == ([4], [2])
    found = best(tmp_path / CHECKPOINTS)[0]
    assert found
    assert (found.path.name, found.state.score) == ("best-00000002", 30)
    assert not saver(tmp_path).improves(29), "a run that continues knows its best"
    assert saver(tmp_path).improves(31)


def test_a_best_that_somebody_damaged_ends_no_training(tmp_path: Path, said: StringIO) -> None:
    keeping = saver(tmp_path, keep=1)
    keeping.save(state(1, 0.5), weights(1))
    keeping.save(state(2, 0.4), weights(2))
    shutil.rmtree(tmp_path / CHECKPOINTS / "best-00000001")
    keeping.save(state(3, 0.3), weights(3))
    assert "the best checkpoint" in said.getvalue()
    assert "step-00000001, could not be kept as best-00000001, too (it is no folder)" in said.getvalue()
    keeping.save(state(4, 0.6), weights(4))
    assert (steps(tmp_path), steps(tmp_path, BEST)) == ([4], [4])


def test_saving_in_the_background_saves_what_was_then(tmp_path: Path) -> None:
    weight = torch.zeros(300, 300)
    keeping = saver(tmp_path, async_save=True)
    assert keeping.save(state(1), [(f"{MODEL}/w", weight)])
    weight.fill_(7)
    assert keeping.save(state(2), [(f"{MODEL}/w", weight)])
    assert keeping.settle()
    saved = [dict(Checkpoint.open(named.path).tensors(MODEL)) for named in stored(tmp_path / CHECKPOINTS)]
    assert [tensors["w"].unique().tolist() for tensors in saved] == [[7.0], [0.0]]


@pytest.mark.parametrize("in_background", [False, True])
def test_full_disk_is_said_and_survived(tmp_path: Path, said: StringIO, in_background: bool) -> None:
    keeping = saver(tmp_path, async_save=in_background)
    keeping.save(state(1), weights(1))
    keeping.settle()
    with full_disk():
        begun = keeping.save(state(2), weights(2))
        assert not (keeping.settle() and begun)
    assert said.getvalue().count("WARNING") == 1
    assert "step-00000002 could not be written (File too large)" in said.getvalue()
    assert [path.name for path in (tmp_path / CHECKPOINTS).iterdir()] == ["step-00000001"]
    assert keeping.save(state(3), weights(3))
    assert keeping.settle()
    assert steps(tmp_path) == [3, 1]


def damages() -> list[tuple[str, str]]:
    files = ("rank-00000-of-00001.safetensors", "state.json", "COMPLETE")
    return [(file, how) for file in files for how in ("flip", "cut", "delete")]


@pytest.mark.parametrize(("name", "how"), damages())
def test_damage_is_told_and_passed_over(tmp_path: Path, name: str, how: str) -> None:
    keeping = saver(tmp_path, keep=3)
    for step in (1, 2):
        keeping.save(state(step), weights(step))
    file = tmp_path / CHECKPOINTS / "step-00000002" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    {"flip": lambda: file.write_bytes(content), "cut": lambda: os.truncate(file, len(content) - 1), "delete": file.unlink}[how]()
    found, damaged = newest(tmp_path / CHECKPOINTS)
    assert found
    assert found.step == 1
    assert len(damaged) == 1
    assert "step-00000002 is not used: " in damaged[0]


def test_names_in_complete_stay_in_the_folder(tmp_path: Path) -> None:
    saver(tmp_path).save(state(1), weights(1))
    (tmp_path / CHECKPOINTS / "secret").write_text("x")
    path = tmp_path / CHECKPOINTS / "step-00000001"
    files = json.loads((path / COMPLETE).read_text())["files"]
    files["../secret"] = {"size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    digest = hashlib.sha256(json.dumps(files, indent=1).encode()).hexdigest()
    (path / COMPLETE).write_text(json.dumps({"files": files, "digest": digest}, indent=1) + "\n")
    with pytest.raises(DamagedError, match=r"COMPLETE is damaged .* one of each rank"):
        described(path)


# Whole runs in real processes.


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("set")
    small_set(folder)
    (folder / "empty.yaml").write_text("")
    places = [f"data.shards={folder / 'shards'}", f"classes.attributes={ATTRIBUTES}", f"classes.splits={folder / 'splits.json'}"]
    often = ["run.checkpoint_every=1", "run.keep=2", "train.ema=0.9", "eval.batch_size=64"]
    return ["train", str(folder / "empty.yaml"), *places, "classes.split=small", *SIZES, *often]


LAST = Path("checkpoints") / "step-00000003" / "COMPLETE"


@pytest.fixture(scope="module")
def whole(server: GroupServer, arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By engine, what COMPLETE says of the weights of a run that nobody disturbed."""
    texts = {}
    for engine in ("ddp", "zero2"):
        folder = tmp_path_factory.mktemp("runs") / engine
        server.group(2, *arguments, f"run.dir={folder}", f"train.engine={engine}").succeed()
        texts[engine] = (folder / LAST).read_text()
    return texts


# Moments inside saves: rank 0 makes the folder, writes, describes, renames and removes; rank 1 writes one file a save.
@pytest.mark.parametrize(
    ("engine", "rank", "change"), [("zero2", 0, 13), ("zero2", 1, 1), ("ddp", 0, 3), ("ddp", 0, 9), ("ddp", 0, 20), ("ddp", 1, 2)]
)
def test_death_of_a_rank_costs_steps_but_not_the_run(
    server: GroupServer, arguments: list[str], whole: dict[str, str], tmp_path: Path, engine: str, rank: int, change: int
) -> None:
    command = [*arguments, f"run.dir={tmp_path}/run", f"train.engine={engine}"]
    codes = server.group(2, *command, dies={rank: change}).wait()
    assert codes[rank] == -signal.SIGKILL
    assert codes[1 - rank] not in (0, -signal.SIGKILL), "the rank that is left notices, and does not call it a success"
    server.group(2, *command).succeed()
    assert (tmp_path / "run" / LAST).read_text() == whole[engine]
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def test_damage_is_said_loudly_when_a_run_continues(
    server: GroupServer, arguments: list[str], whole: dict[str, str], tmp_path: Path
) -> None:
    command = [*arguments, f"run.dir={tmp_path}/run"]
    server.group(1, *command).succeed()
    uninterrupted = (tmp_path / "run" / LAST).read_text()
    with (tmp_path / "run" / LAST).with_name("rank-00000-of-00001.safetensors").open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\xff")
    said = " ".join(server.group(1, *command).succeed().split())
    assert "warning:" in said
    assert "step-00000003 is not used: rank-00000-of-00001.safetensors is missing or damaged" in said
    assert "step-00000002" in said.split("continuing from")[1]
    assert (tmp_path / "run" / LAST).read_text() == uninterrupted


@pytest.mark.parametrize("at_once", ["true", "false"])
def test_a_slow_disk_costs_time_and_nothing_else(
    server: GroupServer, arguments: list[str], whole: dict[str, str], tmp_path: Path, at_once: str
) -> None:
    command = [*arguments, f"run.dir={tmp_path}/run", f"run.async_save={at_once}", "faults.hang_seconds=20"]
    begun = time.monotonic()
    server.group(2, *command, environment={SLOW: 0.1}).succeed()
    assert time.monotonic() > begun + 1
    assert (tmp_path / "run" / LAST).read_text() == whole["ddp"]


def test_last_step_that_finds_no_room_is_no_success(server: GroupServer, arguments: list[str], tmp_path: Path) -> None:
    command = [*arguments, f"run.dir={tmp_path}/run", "train.engine=zero1"]
    group = server.group(2, *command, environment={FILE_LIMIT: FULL})
    assert group.wait() == [2, 2]
    said = " ".join(group.ranks[0].output.split())
    assert said.count("could not be written (File too large): training goes on") == 3
    assert "step 3 could not be saved: make room for" in said
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    server.group(2, *command).succeed()


def test_frozen_backbone_is_left_out(server: GroupServer, arguments: list[str], tmp_path: Path) -> None:
    from dsva.config import ModelConfig
    from dsva.model.backbone import build_backbone

    torch.manual_seed(0)
    backbone = build_backbone(ModelConfig(width=32, layers=1, heads=2, mlp=32, patch=12), 48)
    backbone.post_layernorm = torch.nn.LayerNorm(32)
    backbone.save_pretrained(tmp_path / "clip")
    given = [f"model.backbone={tmp_path / 'clip'}", "train.heads_only_steps=3", f"run.dir={tmp_path}/run"]
    server.group(2, *arguments, *given, "train.engine=zero1").succeed()
    last = newest(tmp_path / "run" / "checkpoints")[0]
    assert last
    kinds = {kind: [name for name, _ in last.tensors(kind)] for kind in (MODEL, "optimizer", "ema")}
    assert all(names and not any(name.startswith("backbone.") for name in names) for names in kinds.values())
    shutil.rmtree(last.path)
    server.group(1, *arguments, *given).succeed()
    server.group(1, "eval", tmp_path / "run").succeed()
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    from safetensors.torch import save_file

    save_file({name: tensor + 1 for name, tensor in weights.items()}, tmp_path / "clip" / "model.safetensors", {"format": "pt"})
    group = server.group(1, "eval", tmp_path / "run")
    assert group.wait() == [2]
    assert "which now holds other weights" in group.ranks[0].output
