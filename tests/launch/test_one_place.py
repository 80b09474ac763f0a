"""What is done in one place is done nowhere else: Slurm's programs, its variables, addresses, locks, atomic writes."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"scontrol", "squeue", "sacct", "scancel", "sbatch", "srun", "sinfo", "salloc"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every file of the three packages, by its path, as a tree."""
    for package in ("shards", "dsva", "launch"):
        for path in (ROOT / package).rglob("*.py"):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of a file, but for those that nobody uses: docstrings."""
    unused = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in unused:
            yield node.value


def names(tree: ast.AST) -> Iterator[str]:
    """Modules and attributes that a file uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
        elif isinstance(node, ast.Attribute):
            yield node.attr


def commands(tree: ast.AST) -> Iterator[str]:
    """First words of what may be a command: of calls, lists and tuples that begin with a string."""
    for node in ast.walk(tree):
        words = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.List | ast.Tuple) else []
        if words and isinstance(words[0], ast.Constant) and isinstance(words[0].value, str):
            yield words[0].value.split()[0] if words[0].value.split() else ""


def test_what_is_looked_for_is_found() -> None:
    tree = ast.parse('"""squeue"""\nimport fcntl\nrun(["squeue", f"--jobs={job}"])\nsystem("scontrol ping")\nfcntl.flock(file)')
    assert set(texts(tree)) == {"squeue", "--jobs=", "scontrol ping"}
    assert set(commands(tree)) == {"squeue", "scontrol"}
    assert set(names(tree)) == {"fcntl", "flock"}


@pytest.mark.parametrize(
    ("found", "where"),
    [
        (lambda tree: PROGRAMS & set(commands(tree)), {"launch/slurm/client.py"}),
        # submitit hides all of Slurm's variables from the jobs that it queues, and with them where its configuration lies, which
        # batch.py puts back.
        (lambda tree: {text for text in texts(tree) if "SLURM" in text} - {"SLURM_CONF"}, {"dsva/processes/environment.py"}),
        (lambda tree: {"MASTER_ADDR", "MASTER_PORT"} & set(texts(tree)), {"dsva/processes/rendezvous.py"}),
        (lambda tree: {"flock", "lockf"} & set(names(tree)), {"shards/locks.py"}),
        (
            lambda tree: {name for name in names(tree) if name.split(".")[0] == "submitit"},
            {"launch/slurm/batch.py", "launch/slurm/task.py"},
        ),
    ],
    ids=["programs of Slurm", "variables of Slurm", "addresses", "locks", "submitit"],
)
def test_one_place(found: Callable[[ast.AST], set[str]], where: set[str]) -> None:
    assert {path for path, tree in modules() if found(tree)} == where
