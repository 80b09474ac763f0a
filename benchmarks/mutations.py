"""Do the tests see it when a formula is changed? Each mutation of `mutation_table` is made alone in a copy of the tree, and tested.

    python -m benchmarks.mutations [FILE.md] [--only WORD]

A test that fails has caught the mutation. The table names the first such test, or says that the mutation survives, and why if that
is known; the exit code is 1 if one survives for no known reason. Refused are a table that no longer fits the tree, and tests that
are red before anything is changed.
"""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from benchmarks.mutation_table import TABLE, Mutation, Target

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("shards", "dsva", "launch", "tests", "configs", "pyproject.toml")
# Imported once, before the processes that test are forked: most of the time that a few quick tests take.
SLOW_IMPORTS = ("torch", "accelerate", "transformers.models.clip.modeling_clip", "scipy.stats", "hypothesis")
LONGEST = 600  # seconds that tests may take; a mutation that makes them hang is caught too


def source(module: str, tree: Path = ROOT) -> Path:
    """Return the file of a module in a copy of the tree."""
    return tree / f"{module.replace('.', '/')}.py"


def misfits() -> Iterator[str]:
    """Yield what in the table does not fit the tree: modules, tests, and texts that do not occur exactly once."""
    for target in TABLE:
        if not source(target.module).is_file():
            yield f"there is no module {target.module}"
            continue
        yield from (f"there is not one file of tests {test}" for test in target.tests if len(_test_files(test, ROOT)) != 1)
        text = source(target.module).read_text()
        for mutation in target.mutations:
            if (times := text.count(mutation.old)) != 1:
                yield f"{mutation.old!r} occurs {times} times in {target.module}"


def _test_files(name: str, tree: Path) -> list[Path]:
    return sorted((tree / "tests").rglob(f"{name.partition('::')[0]}.py"))


class FirstFailure:
    """Plugin of pytest that keeps the name of the first test that fails, or of the file that cannot be read."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at the end of a test."""
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Look at the reading of a file."""
        self._look(report)

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.name:
            file, _, test = report.nodeid.partition("::")
            self.name = "::".join(filter(None, (Path(file).name, test)))


def _test(tests: tuple[str, ...], tree: Path, told: Connection) -> None:
    """Run tests of a copy of the tree in this process, and tell the first that fails, empty if all pass."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    sys.dont_write_bytecode = True
    chosen = [str(_test_files(test, tree)[0]) + test[len(test.partition("::")[0]) :] for test in tests]
    first = FirstFailure()
    code = pytest.main(["-x", "--rootdir", str(tree), "-p", "no:cacheprovider", *chosen], plugins=[first])
    told.send(first.name or ("" if code == 0 else f"pytest ended with {int(code)}"))


def failing(tests: tuple[str, ...], tree: Path) -> str:
    """Run tests of a copy of the tree in a process of their own; return the first that fails, empty if all pass."""
    heard, told = Pipe(duplex=False)
    child = get_context("fork").Process(target=_test, args=(tests, tree, told))
    child.start()
    told.close()
    try:
        return str(heard.recv()) if heard.poll(LONGEST) else f"no end within {LONGEST} s"
    except EOFError:
        return "the tests' process died"
    finally:
        child.kill()
        child.join()


def tried(target: Target, mutation: Mutation, tree: Path) -> str:
    """Return the test that fails with a mutation, empty if none does; the copy is as before afterwards."""
    file = source(target.module, tree)
    before = file.read_text()
    file.write_text(before.replace(mutation.old, mutation.new))
    try:
        return failing(target.tests, tree)
    finally:
        file.write_text(before)


def main() -> None:
    """Copy, look whether all is green, mutate, test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="file for the table")
    parser.add_argument("--only", default="", help="only modules that have this in their name")
    given = parser.parse_args()
    if wrong := list(misfits()):
        sys.exit("the table does not fit the tree: " + "; ".join(wrong))
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch reads it
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    targets = [target for target in TABLE if given.only in target.module]
    if not targets:
        sys.exit(f"--only {given.only}: no module of the table has this in its name")
    lines, survived, unforeseen = ["| module | mutation | caught by |", "|:--|:--|:--|"], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in KEPT:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tree / name)
        if red := failing(tuple(dict.fromkeys(test for target in targets for test in target.tests)), tree):
            sys.exit(f"{red} fails before anything is changed: mend it first")
        for target in targets:
            for mutation in target.mutations:
                caught = tried(target, mutation, tree)
                survived += not caught
                unforeseen += not caught and not mutation.unseen
                found = f"`{caught}`" if caught else f"survives: {mutation.unseen or 'A TEST IS MISSING'}"
                lines.append(f"| `{target.module}` | {mutation.breaks} | {found} |")
                print(lines[-1], flush=True)
    count = len(lines) - 2
    lines += ["", f"{datetime.now(UTC):%Y-%m-%d}: {count} mutations, {count - survived} caught, {survived} survive."]
    print(lines[-1])
    if given.file:
        given.file.write_text("\n".join(lines) + "\n")
    sys.exit(unforeseen > 0)


if __name__ == "__main__":
    main()
