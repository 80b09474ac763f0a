"""What is imported for good is no garbage collector's business."""

import gc

import pytest

from dsva import importing


def test_what_comes_in_the_block_is_not_looked_at_then_or_later() -> None:
    gc.unfreeze()
    with importing.for_good():
        assert not gc.isenabled()
        stays: list[list[object]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(stays)
    assert not any(known is stays for known in gc.get_objects())


def test_a_collector_that_was_off_stays_off_and_one_that_was_on_comes_back_after_an_error() -> None:
    with pytest.raises(ImportError), importing.for_good():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with importing.for_good():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
