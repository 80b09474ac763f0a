"""Names that break things elsewhere, on the real command line."""

import sys
from pathlib import Path

import pytest

from launch.cli.main import main
from tests.helpers.drawn import scene


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    """Run `dsva ARGUMENTS`; return the exit code."""
    monkeypatch.setattr(sys, "argv", ["dsva", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


@pytest.mark.parametrize("command", [("shards", "info"), ("shards", "verify"), ("shards", "index")])
def test_a_name_that_is_too_long_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, str]
) -> None:
    assert call(monkeypatch, *command, "x" * 300) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "x" * 300 in said


def test_names_in_brackets_are_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shards = tmp_path / "a[" / "v]"  # a[/v] closes a markup that nothing opened
    for name in ("[red]Pond", "Port"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "pond_1.jpg").write_bytes(scene("Pond", 1))
    shards.parent.mkdir()
    assert call(monkeypatch, "pack", tmp_path / "images", shards, "--workers", 1) in (0, None)
    for command in ("info", "verify", "index"):
        assert call(monkeypatch, "shards", command, shards) in (0, None)
        assert str(shards) in capsys.readouterr().out.replace("\n", "")
    (shards / "shard-000000.tar").write_bytes(b"")
    assert call(monkeypatch, "shards", "verify", shards) == 2
