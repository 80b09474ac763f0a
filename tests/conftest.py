"""Fixtures shared by all tests: the AID scenes, where they lie beside the checkout."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
AID = SHARED / "data" / "aid"
GOLDEN = SHARED / "reference" / "golden"


@pytest.fixture(scope="session")
def aid() -> Path:
    """Folder of the AID scenes (images/CLASS/*.jpg); tests that need it are counted as skipped where it is missing."""
    if not AID.is_dir():
        pytest.skip(f"AID is not at {AID}")
    return AID


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the published code's recorded results; tests that need it are counted as skipped where it is missing."""
    if not GOLDEN.is_dir():
        pytest.skip(f"the golden cases are not at {GOLDEN}")
    return GOLDEN
