"""tests/slow.md tells of tests that there are, the ten longest with a reason each."""

import re

import pytest

from tests.helpers.programs import ROOT
from tests.helpers.slow import LIST, SlowTest, slow_tests

SLOW = slow_tests()


def test_the_ten_longest_come_first_each_with_its_reason() -> None:
    ten = SLOW[:10]
    assert len(ten) == 10
    assert ten == sorted(ten, key=lambda slow: -slow.seconds)
    assert all(slow.why for slow in SLOW)
    assert LIST.read_text().count("\n| `") == len(SLOW), "every row is read"
    assert all(slow.seconds <= ten[-1].seconds for slow in SLOW[10:] if not (ROOT / slow.name).is_dir())


@pytest.mark.parametrize("slow", SLOW, ids=lambda slow: slow.name)
def test_what_is_listed_is_there(slow: SlowTest) -> None:
    file, _, function = slow.name.partition("::")
    assert (ROOT / file).exists()
    assert not function or re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_what_is_listed_has_the_marker(request: pytest.FixtureRequest) -> None:
    """Of the tests of this session: all of them, or those that were asked for."""
    for item in request.session.items:
        listed = [slow for slow in SLOW if slow.covers(item.nodeid)]
        assert bool(item.get_closest_marker("slow")) == bool(listed), item.nodeid
