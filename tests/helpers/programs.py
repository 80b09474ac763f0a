"""Programs that tests start in processes of their own."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def environment() -> dict[str, str]:
    """The environment in which such a process finds the project's packages, these helpers too, and computes in one thread."""
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}


def helper(name: str) -> list[str]:
    """The command that runs `tests/helpers/NAME.py`."""
    return [sys.executable, "-m", f"tests.helpers.{name}"]
