"""Packs, and is killed at a chosen moment: a program of its own, since a process with threads must not fork.

python -m tests.helpers.crash IMAGES TARGET SHARD_BYTES EVENT    is killed before the EVENTth renaming or removal of a file
python -m tests.helpers.crash IMAGES TARGET SHARD_BYTES          does so for every event there is, each time packs again after
                                                                 it, and prints for how many the result was the same
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from shards.pack import pack
from shards.sources import open_source


def run(images: str, target: Path, shard_bytes: int, dies_at: int) -> None:
    """Pack, but be killed at an event."""
    left = dies_at

    def hook(name: str, _: object) -> None:
        nonlocal left
        if name in ("os.rename", "os.remove", "os.rmdir"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    pack(open_source(images), target, shard_bytes=shard_bytes)


def sweep(images: str, target: Path, shard_bytes: int) -> int:
    """Be killed at every event in turn; return how many there are."""
    whole, events, killed = None, 0, True
    while killed:
        child = os.fork()
        if child == 0:
            # The first time is not cut off: it says what the result must be.
            run(images, target, shard_bytes, events if whole else sys.maxsize)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL)
        if not target.exists():
            pack(open_source(images), target, shard_bytes=shard_bytes)
        result = {path.name: path.read_bytes() for path in target.iterdir()}
        assert result == (whole or result), f"differs after a crash at event {events}"
        killed, events = whole is None or status != 0, events + (whole is not None)
        whole = result
        shutil.rmtree(target)
        shutil.rmtree(f"{target}.partial", ignore_errors=True)
    return events


if __name__ == "__main__":
    images, target, shard_bytes, *event = sys.argv[1:]
    if event:
        run(images, Path(target), int(shard_bytes), int(event[0]))
    else:
        print(sweep(images, Path(target), int(shard_bytes)))
