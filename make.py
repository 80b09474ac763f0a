#!/usr/bin/env python3
"""Install into .venv and run the demonstration, the checks or some tests. Needs Python 3.11 or newer and nothing else."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STAMP = VENV / "installed"
# As a path, which type checkers and scripts beside a checkout find too; by default it would be a finder of imports.
EDITABLE = ("--config-settings", "editable_mode=compat", "-e", ".[test]")
DOCS = ["mkdocs", "build", "--strict", "--quiet"]
USAGE = """usage: python3 make.py demo
       python3 make.py docs              the documentation as a site
       python3 make.py test              all checks and all tests
       python3 make.py test ARGUMENT...  pytest with these arguments: tests/shards, -k resume, -m "not slow" -n 2"""
CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["lint-imports"],
    DOCS,
    ["pytest", "tests/slurm"],  # by themselves: they start a cluster on this machine
    ["pytest", "--ignore=tests/slurm", "--numprocesses=logical", "--maxprocesses=4"],
)


def run(*command: str) -> None:
    """Run a command of the environment in the project's folder; leave with its exit code if it fails."""
    print("$", *command, flush=True)
    code = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, check=False).returncode
    if code:
        sys.exit(code)


def install() -> None:
    """Create .venv and install the tested versions; does nothing when that was done for these very files."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return
    if not (BIN / "python").exists() and not (BIN / "python.exe").exists():
        venv.create(VENV, with_pip=True)
    run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt", *EDITABLE)
    STAMP.write_text(wanted)


def main(arguments: list[str]) -> None:
    """Install, then run the demonstration, all checks and tests or pytest with the arguments after `test`; or build the site."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is run by whatever Python there is)
        sys.exit(f"this is Python {sys.version.split()[0]}: run make.py with Python 3.11 or newer")
    if arguments[:1] != ["test"] and arguments not in (["demo"], ["docs"]):
        sys.exit(USAGE)
    install()
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # an advertisement of the theme's for its successor
    if arguments == ["demo"]:
        run("dsva", "demo")
    elif arguments == ["docs"]:
        run(*DOCS)
        print(f"built {ROOT / 'site' / 'index.html'}")
    elif arguments[1:]:
        run("pytest", *arguments[1:])
    else:
        for check in CHECKS:
            run(*check)


if __name__ == "__main__":
    main(sys.argv[1:])
