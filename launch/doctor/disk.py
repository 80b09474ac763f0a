"""The folder that the nodes share: whole renames, exclusive files, locks, speed, and the clock that files are stamped by."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from dsva.processes.environment import node_name
from launch.doctor.finding import Asked, Finding
from shards.locks import take

RENAMES, SIZE = 200, 8192
WRITTEN, BLOCK, SECONDS = 64 << 20, 4 << 20, 5.0
LOCKS = "ask for the mount option (`flock` on Lustre, no `nolock` on NFS)"
SLOW = 50.0  # MB/s, with which a checkpoint of ViT-B/32 and its optimizer takes 20 s
SKEW = 2.0  # seconds; time stamps of some file systems are as coarse as that


@contextmanager
def _own(asked: Asked) -> Iterator[Path]:
    Path(asked.scratch).mkdir(exist_ok=True)
    with TemporaryDirectory(dir=asked.scratch, prefix=f"{node_name()}-") as folder:
        yield Path(folder)


def rename(asked: Asked) -> Finding:
    """Rename files over one that is read all the while, as checkpoints and notes are; create a file that must be new."""
    with _own(asked) as folder:
        target, ended, torn = folder / "file", threading.Event(), []
        target.write_bytes(b"0" * SIZE)

        def read() -> None:
            while not ended.is_set():
                data = target.read_bytes()
                if len(data) != SIZE or len(set(data)) != 1:
                    torn.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for number in range(RENAMES):
                beside = folder / "beside"
                beside.write_bytes(str(number % 10).encode() * SIZE)
                beside.replace(target)
        finally:
            ended.set()
            reader.join()
        try:
            target.open("x").close()
            twice = True
        except FileExistsError:
            twice = False
    if torn or twice:
        said = f"{len(torn)} of the reads during {RENAMES} renames saw half a file; a file could be created twice: {twice}"
        return Finding("renames", "FAIL", said, "keep runs and shards on another file system")
    return Finding("renames", "OK", f"{asked.folder}: files change in one step, new ones are exclusive")


def locks(asked: Asked) -> Finding:
    """Lock a file twice: the second time must be refused."""
    with _own(asked) as folder, (folder / "lock").open("w") as first, (folder / "lock").open("w") as second:
        try:
            if take(first) and not take(second):
                return Finding("locks", "OK", f"{asked.folder}: files can be locked")
            said = "two processes can hold the same lock"
            return Finding("locks", "WARN", said, f"{LOCKS}; until then give no command twice at a time")
        except OSError as error:
            return Finding("locks", "FAIL", f"files cannot be locked ({error.strerror})", f"{LOCKS}; runs do not start without")


def speed(asked: Asked, slow: float = SLOW) -> Finding:
    """Write for some seconds, to the disk."""
    with _own(asked) as folder, (folder / "data").open("wb", buffering=0) as file:
        block, written, start = os.urandom(BLOCK), 0, time.perf_counter()
        while written < WRITTEN and time.perf_counter() - start < SECONDS:
            written += file.write(block)
            os.fsync(file.fileno())
        rate = written / (time.perf_counter() - start) / 1e6
    free = os.statvfs(asked.folder)
    said = f"{rate:,.0f} MB/s to {asked.folder}, {free.f_bavail * free.f_frsize / 1e9:,.0f} GB free"
    if rate < slow:
        return Finding("write speed", "WARN", said, "keep runs on a faster file system, or save less often: run.checkpoint_every")
    return Finding("write speed", "OK", said)


def clock(asked: Asked, ahead: float = 0.0) -> Finding:
    """Compare this machine's clock, plus `ahead` seconds, with the one that files are stamped by."""
    with _own(asked) as folder:
        file = folder / "stamp"
        before = time.time()
        file.write_bytes(b"now")
        after = time.time()
        stamp = file.stat().st_mtime
    skew = max(0.0, before + ahead - stamp, stamp - after - ahead)
    said = f"differs from the file system's by {skew:.1f} s" if skew > SKEW else f"agrees with the file system's to {SKEW:.0f} s"
    return Finding("clock", "WARN" if skew > SKEW else "OK", said, "set the clock by NTP (chrony)" if skew > SKEW else "")
