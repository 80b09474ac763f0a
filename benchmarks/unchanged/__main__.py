"""Shows that a change of the code changed no result: runs a fixed set of short jobs in checkouts and compares all that they write.

    python -m benchmarks.unchanged OLD NEW                      # runs both; exit code 1 on any difference
    python -m benchmarks.unchanged --record OLD FILE.json       # runs one and keeps the facts
    python -m benchmarks.unchanged --against FILE.json NEW      # compares another with them, on the same machine and packages

OLD and NEW are checkouts of this project, each with a .venv; or give `--python` for both. Jobs are started by the command line
only, so modules may have moved. Results are equal to the last bit on one type of processor with the same packages only.
Compared: bytes of packed sets; every tensor of the last checkpoints, of all engines on one and two processes; losses of every
step; results, decisions, exported models, predictions, explanations, a class map; choose, ablate and a sweep's table; and what
comes of runs that OLD has left. What is left out and why: benchmarks/unchanged/facts.py.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.unchanged.compare import differences, table
from benchmarks.unchanged.facts import Facts
from benchmarks.unchanged.side import Checkout, Side

LISTED = 40  # differences that are told one by one


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="OLD, or FILE.json after --against")
    parser.add_argument("second", type=Path, help="NEW, or FILE.json after --record")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--record", action="store_true")
    what.add_argument("--against", action="store_true")
    parser.add_argument("--python", type=Path, help="interpreter for both checkouts; none takes each one's .venv")
    parser.add_argument("--folder", type=Path, help="new folder to work in, which is kept; none takes a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.folder or Path(temporary)
        sys.exit(_record(given, work) if given.record else _compare(given, work))


def _record(given: argparse.Namespace, work: Path) -> int:
    side = Side(_checkout(given.first, given), work / "old")
    facts = side.facts()
    left = _left(given.second)
    shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(work / "old" / "left", left)
    given.second.write_text(json.dumps(facts, indent=0) + "\n")
    print(f"{len(facts):,} facts written to {given.second}, what a later checkout has to read to {left}")
    return int(any(side.exits.values()))


def _compare(given: argparse.Namespace, work: Path) -> int:
    if given.against:
        before: Facts = json.loads(given.first.read_text())
        left = _left(given.first)
    else:
        before = Side(_checkout(given.first, given), work / "old").facts()
        left = work / "old" / "left"
    after = Side(_checkout(given.second, given), work / "new", left).facts()
    print(table(before, after))
    found = differences(before, after)
    print("\n".join(["", *found[:LISTED], f"{len(found):,} of {len(before.keys() | after.keys()):,} facts differ"]))
    return int(bool(found))


def _checkout(root: Path, given: argparse.Namespace) -> Checkout:
    root = root.resolve()
    python = (given.python or root / ".venv" / "bin" / "python").absolute()
    if not python.is_file():
        sys.exit(f"{python} is not there: give a checkout that `python3 make.py demo` has installed, or --python")
    return Checkout(root, python)


def _left(record: Path) -> Path:
    return record.with_suffix(".left")


if __name__ == "__main__":
    main()
