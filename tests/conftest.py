"""Fixtures shared by all tests: data that lie beside the checkout, for the tests that are about them; and which tests are slow."""

import os
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers.heard import heard
from tests.helpers.slow import slow_tests

# How long an example takes is a matter of who else computes here.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# Tests side by side, and the nodes of a cluster on one machine, share the processors: more threads than one each, here or in
# children, would only wait. And runs are compared bit for bit, for which they need the same number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"
AID = SHARED / "data" / "aid"
GOLDEN = SHARED / "reference" / "golden"
REAL_DATA = {"aid": AID, "golden": GOLDEN}
REAL = "real data"
# They come first, so that no worker is left with one of them when the others have ended.
LONGEST = ("test_engines.py", "test_demo.py", "test_readme.py")
SLOW = slow_tests()
ran_on: set[object] = set()


@pytest.fixture
def said() -> Iterator[StringIO]:
    """What the packages say during the test, see `heard`."""
    with heard() as text:
        yield text


@pytest.fixture(scope="session")
def aid() -> Path:
    """Folder of the AID scenes (images/CLASS/*.jpg); tests that are about them are counted as skipped where it is missing."""
    if not AID.is_dir():
        pytest.skip(f"AID is not at {AID}")
    return AID


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the published code's recorded results; tests that need it are counted as skipped where it is missing."""
    if not GOLDEN.is_dir():
        pytest.skip(f"the golden cases are not at {GOLDEN}")
    return GOLDEN


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in the order in which the workers take them up, file by file; mark those that tests/slow.md lists."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if any(slow.covers(item.nodeid) for slow in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _note_real_data(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    for name in REAL_DATA:
        if name in request.fixturenames:
            record_property(REAL, name)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember which real data the tests that passed were run on."""
    if report.when == "call" and report.passed:
        ran_on.update(value for name, value in report.user_properties if name == REAL)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail an automatic run that had the real data beside it and did not test on it."""
    # One process of several leaves it to the one that started them; a part of the tests need not have met all data.
    config = session.config
    part = config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.markexpr or config.option.keyword
    if hasattr(config, "workerinput") or part:
        return
    unused = [name for name, folder in REAL_DATA.items() if folder.is_dir() and name not in ran_on]
    if os.environ.get("CI") and unused and exitstatus == 0:
        print(f"\nno test ran on {', '.join(unused)}, which lies beside the checkout")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
