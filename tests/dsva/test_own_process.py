"""What is imported for good is no garbage collector's business, in a process that is ours."""

import gc

import pytest

from dsva import own_process
from dsva.own_process import imported_for_good


@pytest.fixture
def _ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_process, "_ours", True)


@pytest.mark.usefixtures("_ours")
def test_what_comes_in_the_block_is_not_looked_at_then_or_later() -> None:
    gc.unfreeze()
    with imported_for_good():
        assert not gc.isenabled()
        stays: list[list[object]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(stays)
    assert not any(known is stays for known in gc.get_objects())


@pytest.mark.usefixtures("_ours")
def test_a_collector_that_was_off_stays_off_and_one_that_was_on_comes_back_after_an_error() -> None:
    with pytest.raises(ImportError), imported_for_good():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with imported_for_good():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_of_another_program_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_process, "_ours", False)
    gc.unfreeze()
    with imported_for_good():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
