"""What a process that is ours from start to end does to itself, for speed and quiet; a program that imports us keeps its settings.

The command line and jobs declare themselves so, before they import what trains.
"""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ours = False


def declare_own_process() -> None:
    """Say that nobody else's program runs in this process; ignore what packages warn of and no user could mend."""
    global _ours  # noqa: PLW0603 (a fact about the process)
    _ours = True
    # DeepSpeed calls some things by names that torch has given up.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # torch announces another way to say that buffers are not sent around, which Accelerate does not know yet.
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
    # FSDP warns of changing an output in place, which nothing here does.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)


@contextmanager
def imported_for_good() -> Iterator[None]:
    """Import, in the block, what stays to the end: nothing looks for garbage in it, neither meanwhile, nor later, nor at the end.

    The 370,000 objects of torch and transformers would be gone through again and again, for a third of the time in which a
    process that only imports them starts and ends; and by every full collection in a training loop. In a process that is not
    ours the block is like any other.
    """
    if not _ours:
        yield
        return
    looks = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looks:
            gc.enable()
