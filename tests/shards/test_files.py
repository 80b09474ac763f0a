"""Files that are the old ones or the new ones."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shards.files import replace_with, write_atomically


@pytest.mark.parametrize("writer", ["", "node-7"])
@pytest.mark.parametrize("fails", ["fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, fails: str
) -> None:
    file = tmp_path / "file"
    replace_with(file, b"old")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(*((os, "fsync", refuse) if fails == "fsync" else (Path, "replace", refuse)))
    with pytest.raises(OSError, match="no room"):
        write_atomically(file, "new", writer)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_several_writers_at_once_leave_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "file"

    def write(number: int) -> None:
        for _ in range(20):
            write_atomically(file, str(number) * 10_000 * (number + 1), f"writer-{number}")
            text = file.read_text()
            assert text == text[0] * 10_000 * (int(text[0]) + 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
