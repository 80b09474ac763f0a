"""Importing large packages in less time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def for_good() -> Iterator[None]:
    """Import, in the block, what stays to the end: nothing looks for garbage in it, neither meanwhile, nor later, nor at the end.

    The 370,000 objects of torch and transformers would be gone through again and again, for a third of the time in which a
    process that only imports them starts and ends; and by every full collection in a training loop.
    """
    looks = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looks:
            gc.enable()
