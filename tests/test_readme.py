"""Every command of the README and of docs/, as it stands there, on a few drawn scenes and for few steps.

Those of docs/slurm.md are tried in tests/slurm, those of other pages in tests that are called like them.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dsva import api
from dsva.config import load
from launch.cli.main import main
from tests.helpers.drawn import draw
from tests.helpers.pages import ROOT, blocks, commands, pages

SMALL = ["train.steps=2", "model.width=32", "model.layers=1", "model.heads=2", "model.mlp=32"]
SMALL += ["data.image_size=48", "data.resize=48", "data.batch_size=8"]
IMAGES_PER_CLASS = 10


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the README's reader has it: configs/ and a few images of each class below DATA/images."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    draw(tmp_path / "DATA" / "images", IMAGES_PER_CLASS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command of a page: `dsva` in this process, launchers in processes of their own."""
    training = SMALL if "train" in command else []
    if command[0] == "dsva":
        monkeypatch.setattr(sys, "argv", [*command, *training])
        try:
            main()
        except SystemExit as left:
            if left.code:
                pytest.fail(f"{command} left with {left.code}")
        return
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [str(Path(sys.executable).parent / command[0]), *command[1:], *training]
    subprocess.run(launcher, env=environment, check=True, timeout=300)


def test_every_command_of_the_journey(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journey = [command for command in commands() if command[0] != "python3"]
    assert len(journey) >= 9
    journey += commands("docs/engines.md")
    for command in journey:
        run(command, monkeypatch)
    for name in ("a", "b", "c"):
        assert (workplace / "RUNS" / name / "results.json").is_file()
    assert (workplace / "MODELS" / "a" / "config.json").is_file()
    monkeypatch.setattr(api, "load_config", lambda path, overrides: load(path, [*overrides, *SMALL]))
    for page in ("README.md", "docs/api.md"):
        names: dict[str, object] = {}
        for program in blocks(page, "python"):
            exec(program, names)
    for name in ("d", "e"):
        assert (workplace / "RUNS" / name / "results.json").is_file()


def test_no_page_has_commands_that_are_not_tried() -> None:
    names = {str(page.relative_to(ROOT)) for page in pages()}
    elsewhere = {"docs/slurm.md", "docs/data.md", "docs/examples/own_data.md", "CONTRIBUTING.md"}
    assert {name for name in names if blocks(name)} == {"README.md", "docs/engines.md", *elsewhere}


def test_the_two_commands_are_those_of_make() -> None:
    two = [command for command in commands() if command[0] == "python3"]
    assert two == [["python3", "make.py", "demo"], ["python3", "make.py", "test"]]
    automatic = (ROOT / ".ci" / "run").read_text()
    assert all(shlex.join(command) in automatic for command in two), "the automatic checks run both"
