"""Exit codes: one file says what they are, and batch files and documents say the same."""

import ast
import re
import signal
from pathlib import Path

import pytest

from dsva import exit_codes
from dsva.exit_codes import DONE, FAULT, HUNG, MISTAKE, OVERTAKEN, of_child, signal_of, stopped_by

ROOT = Path(__file__).resolve().parents[2]
LEAVING = {"exit", "_exit", "Exit", "SystemExit"}


def numbers(value: ast.expr) -> bool:
    """Whether a value is, or is reckoned from, a number that stands there."""
    if isinstance(value, ast.BinOp):
        return numbers(value.left) or numbers(value.right)
    if isinstance(value, ast.IfExp):
        return numbers(value.body) or numbers(value.orelse)
    return isinstance(value, ast.Constant) and isinstance(value.value, int)


def numbers_that_leave(source: str) -> list[int]:
    """The lines that leave with a number of their own."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    named = [(call, call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")) for call in calls]
    return [call.lineno for call, name in named if name in LEAVING and any(map(numbers, call.args))]


def test_nobody_leaves_with_a_number_of_their_own() -> None:
    assert numbers_that_leave("import sys\nsys.exit(128 + n)\nraise typer.Exit(2 if bad else OK)\nsys.exit('no')") == [2, 3]
    files = [path for package in ("dsva", "launch") for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 100
    assert [f"{path}:{line}" for path in files for line in numbers_that_leave(path.read_text())] == []


def test_codes_tell_ends_apart() -> None:
    codes = [DONE, FAULT, MISTAKE, OVERTAKEN, HUNG, *map(stopped_by, signal.Signals)]
    assert len(set(codes)) == len(codes)
    assert all(0 <= code < 255 for code in codes), "255 is submitit's, and more is none"
    named = {value for name, value in vars(exit_codes).items() if name.isupper() and not name.startswith("_")}
    assert named == {DONE, FAULT, MISTAKE, OVERTAKEN, HUNG}


@pytest.mark.parametrize("number", list(signal.Signals))
def test_a_signal_is_found_again(number: signal.Signals) -> None:
    assert signal_of(stopped_by(number)) is number
    assert signal_of(of_child(-number)) is number


@pytest.mark.parametrize("code", [DONE, FAULT, MISTAKE, OVERTAKEN, HUNG, 3, 128, 255, -9])
def test_other_codes_speak_of_no_signal(code: int) -> None:
    assert signal_of(code) is None


@pytest.mark.parametrize(
    ("file", "said", "codes"),
    [
        (
            "README.md",
            r"Exit codes: (\d+) done, (\d+) a mistake in what was given .*, (\d+) a fault of ours\.",
            [DONE, MISTAKE, FAULT],
        ),
        ("README.md", r"exit code (\d+) plus the signal's number", [stopped_by(0)]),
        ("docs/engines.md", r"All leave with exit code (\d+), and a Slurm job starts again", [HUNG]),
        ("docs/engines.md", r"ends the run with exit code (\d+) and says where to make room", [MISTAKE]),
        ("docs/engines.md", r"\(an I/O error\) is a fault, exit code (\d+)\.", [FAULT]),
        ("docs/slurm.md", r"Exit code (\d+) where something is FAIL, else (\d+);", [MISTAKE, DONE]),
        ("slurm/one-node.sbatch", r"its own \((\d+) \+ USR2 = (\d+), saved\)", [stopped_by(0), stopped_by(signal.SIGUSR2)]),
        ("slurm/one-node.sbatch", r"by its watchdog \((\d+)\)", [HUNG]),
        ("slurm/one-node.sbatch", r"\$code -gt (\d+) ", [MISTAKE]),
        ("slurm/nodes.sbatch", r"\$code -gt (\d+) ", [MISTAKE]),
        ("slurm/splits.sbatch", r"\$code -gt (\d+) ", [MISTAKE]),
    ],
)
def test_documents_and_batch_files_say_the_same(file: str, said: str, codes: list[int]) -> None:
    found = re.search(said, (ROOT / file).read_text())
    assert found, said
    assert [int(code) for code in found.groups()] == codes
