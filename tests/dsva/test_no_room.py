"""Runs on disks that are full: each file in turn, and a real small file system. 30 seconds."""

import errno
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dsva.config import Config, load
from dsva.files import Growing, NoRoomError, append_line, read_lines, whole_folder, write_atomically
from dsva.inference.trained_run import Trained
from dsva.runs import record
from dsva.train.run import run
from shards.errors import UserError
from shards.files import file_sha256
from tests.helpers.noise import Noise
from tests.helpers.programs import environment, helper
from tests.helpers.runs import assert_same, board, checkpoints, column, finished, results

STEPS = 4
SETTINGS = [f"train.steps={STEPS}", "run.checkpoint_every=2", "data.workers=1"]
CODE = ({"version": "1", "commit": "c", "modified": True, "sha256": "0" * 64}, "a patch")
# What is written while steps are taken costs a warning; the rest ends the run with a sentence, and the same command continues.
WARNED = ["metric", "events", ".ended"]
ENDED = [
    "config.yaml",
    "environment.json",
    ".diff",
    "starts.jsonl",
    "decisions",
    "results.md",
    "results.json",
    "confusion",
    "seen_",
]


class Full(io.FileIO):
    """A file on a disk that takes half of what is written to it and no more."""

    room = sys.maxsize  # writes that still succeed

    def write(self, data: Any) -> int:
        if Full.room > 0:
            Full.room -= 1
            return super().write(data)
        super().write(bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def called(place: str, folder: Path | None = None) -> Callable[[Path], bool]:
    """Tell files that have this in their name, and lie below the folder if one is given."""
    return lambda path: place in path.name and (folder is None or folder in path.parents)


@contextmanager
def no_room(monkeypatch: pytest.MonkeyPatch, at: Callable[[Path], bool], writes: int = 0) -> Iterator[None]:
    """The disk is full for files that are opened meanwhile, for which `at` holds, after so many writes to all of them."""
    opened = io.open

    def open_(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wax+") or not at(Path(file)):
            return opened(file, mode, buffering, *rest, **more)
        raw = Full(str(file), mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        return io.BufferedWriter(raw) if "b" in mode else io.TextIOWrapper(io.BufferedWriter(raw))

    with monkeypatch.context() as patch:
        Full.room = writes
        patch.setattr(io, "open", open_)
        yield


@pytest.fixture
def config(tiny: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(record, "running_code", lambda: CODE)
    return load(tiny.config, [f"run.dir={tmp_path / 'RUN'}", *SETTINGS])


@pytest.fixture(scope="module")
def undisturbed(tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "RUN"
    assert run(load(tiny.config, [f"run.dir={folder}", *SETTINGS])) == 0
    return folder


def whole(folder: Path, undisturbed: Path) -> None:
    """The run is as if there had always been room."""
    assert_same(finished(folder), finished(undisturbed))
    assert results(folder) == results(undisturbed)
    assert column(folder, "step") == list(range(1, STEPS + 1))
    assert [step for step, _ in board(folder, "loss/total")] == list(range(1, STEPS + 1))
    assert not list(folder.rglob(".*.writing"))


def test_what_finds_no_room_between_steps_is_a_warning_told_once(
    config: Config, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, said: io.StringIO
) -> None:
    folder = config.run.dir
    with no_room(monkeypatch, lambda path: path.name[:6] in WARNED and folder in path.parents):
        assert run(config) == 0
    for told in ("training goes on, and it is written when there is room again", "what is owed is lost"):
        assert said.getvalue().count(told) == 2  # of the metrics and of TensorBoard
    assert_same(finished(folder), finished(undisturbed))
    assert results(folder) == results(undisturbed)


def test_a_last_step_that_finds_no_room_ends_in_a_sentence(
    config: Config, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        no_room(monkeypatch, lambda path: path.name.startswith("rank-")),
        pytest.raises(UserError, match=r"make room for .* and give the same command again"),
    ):
        run(config)
    assert run(config) == 0
    whole(config.run.dir, undisturbed)


def test_what_finds_no_room_else_ends_in_a_sentence_and_the_same_command_continues(
    config: Config, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = config.run.dir
    for place in ENDED:
        with (
            no_room(monkeypatch, called(place, folder)),
            pytest.raises(UserError, match=r"No space left on device.*make room there, and give the same command again"),
        ):
            run(config)
        assert not [path for path in folder.rglob("*") if place in path.name and path.read_bytes()], place
    assert run(config) == 0
    whole(folder, undisturbed)


def test_a_small_file_system_that_is_full_sooner_or_later(tiny: Noise, undisturbed: Path, tmp_path: Path) -> None:
    disk = tmp_path / "DISK"
    disk.mkdir()
    sizes = ["8k", "100k", "300k", "500k"]
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    command = [*alone, *helper("small_disk"), str(disk), ",".join(sizes), str(tiny.config), *SETTINGS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [one["size"] for one in told] == sizes
    sound = {file.name: file_sha256(file) for file in checkpoints(undisturbed)[-1].glob("*.safetensors")}
    for one in told:
        assert "Traceback" not in one["said"], one
        assert "make room" in one["said"].splitlines()[-1], one
        assert (one["codes"], one["weights"]) == ([2, 0], sound), one
        assert one["steps"] == sorted(set(one["steps"])), one


def test_a_piece_that_finds_no_room_is_owed_and_the_file_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with no_room(monkeypatch, lambda path: path.name == "lines", writes=1):
        file = Growing(tmp_path / "lines")
        file.add(b"first\n")
        for piece in (b"second\n", b"third\n"):
            with pytest.raises(NoRoomError, match="lines cannot be written"):
                file.add(piece)
            assert (tmp_path / "lines").read_bytes() == b"first\n"
            assert file.short
        Full.room = 1
        file.add(b"fourth\n")
    assert (tmp_path / "lines").read_bytes() == b"first\nsecond\nthird\nfourth\n"
    assert not file.short


def test_a_line_that_a_kill_has_torn_takes_no_other_with_it(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    append_line(file, {"step": 1})
    file.write_text(file.read_text() + '{"step": 2')
    append_line(file, {"step": 3})
    assert read_lines(file) == [{"step": 1}, {"step": 3}]


def test_a_file_and_a_folder_are_the_old_ones_or_the_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "file", "old")
    with no_room(monkeypatch, lambda path: True):
        with pytest.raises(NoRoomError, match="file cannot be written"):
            write_atomically(tmp_path / "file", "new")
        with pytest.raises(NoRoomError, match="inside cannot be written"), whole_folder(tmp_path / "folder") as folder:
            write_atomically(folder / "inside", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_an_export_without_room_leaves_nothing(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Trained.open(undisturbed)
    for place in ("model.safetensors", "README.md", "config.json"):
        with no_room(monkeypatch, called(place)), pytest.raises(NoRoomError, match=place):
            trained.export(tmp_path / "MODEL")
        assert not list(tmp_path.iterdir())
    assert {path.name for path in trained.export(tmp_path / "MODEL").iterdir()} == {"model.safetensors", "README.md", "config.json"}
