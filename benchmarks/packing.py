"""Packing against GNU tar and webdataset's writer, and the memory it takes.

    python -m benchmarks.packing IMAGES [--rounds 3] [--copies 4]

IMAGES is a folder of class folders; it is taken `copies` times under other names (hard links where possible).
Prints two tables in Markdown: rates as medians of interleaved rounds, and peak resident memory of fresh processes.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from shards.pack import pack
from shards.sources import open_source

SHARD_BYTES = 16 << 20


def replicate(images: Path, target: Path, copies: int) -> tuple[int, int]:
    """Fill `target` with copies; return how many files and bytes they are."""
    files = size = 0
    for path in sorted(images.glob("*/*")):
        (target / path.parent.name).mkdir(parents=True, exist_ok=True)
        for copy in range(copies):
            name = target / path.parent.name / f"{path.stem}_{copy}{path.suffix}"
            try:
                os.link(path, name)
            except OSError:
                shutil.copyfile(path, name)
            files, size = files + 1, size + path.stat().st_size
    return files, size


def with_tar(images: Path, target: Path) -> None:
    target.mkdir()
    subprocess.run(["tar", "--format=ustar", "--hard-dereference", "-cf", target / "all.tar", "-C", images, "."], check=True)


def with_shard_writer(images: Path, target: Path) -> None:
    import webdataset  # noqa: PLC0415 (it would count in the memory that packing takes)

    target.mkdir()
    classes = {path.name: label for label, path in enumerate(sorted(images.iterdir()))}
    with webdataset.ShardWriter(str(target / "%06d.tar"), maxsize=SHARD_BYTES, verbose=0) as writer:
        for path in sorted(images.glob("*/*")):
            writer.write({"__key__": f"{path.parent.name}/{path.stem}", "jpg": path.read_bytes(), "cls": classes[path.parent.name]})


def with_pack(images: Path, target: Path, workers: int = 1) -> None:
    pack(open_source(images), target, workers=workers, shard_bytes=SHARD_BYTES)


def seconds(write: Callable[[Path, Path], None], images: Path, target: Path) -> tuple[float, float]:
    """Return the wall-clock and the processor seconds, those of child processes included."""
    wall, before = time.perf_counter(), sum(os.times()[:4])
    write(images, target)
    taken = time.perf_counter() - wall, sum(os.times()[:4]) - before
    shutil.rmtree(target)
    return taken


def rates(images: Path, files: int, size: int, rounds: int, room: Path) -> str:
    ways: dict[str, Callable[[Path, Path], None]] = {
        "GNU tar, images only": with_tar,
        "webdataset.ShardWriter": with_shard_writer,
        "pack, 1 worker": with_pack,
        "pack, 2 workers": lambda i, t: with_pack(i, t, 2),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, write in ways.items():
            taken[name].append(seconds(write, images, room / "TARGET"))
    median = {name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in taken.items()}
    mib = size / (1 << 20)
    lines = [
        f"| {files} files, {mib:.0f} MiB, median of {rounds} | files/s | MiB/s | of GNU tar | of ShardWriter | processor us/file |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for name, (wall, processor) in median.items():
        tar, writer = (median[base][0] / wall for base in ("GNU tar, images only", "webdataset.ShardWriter"))
        lines.append(
            f"| {name} | {files / wall:,.0f} | {mib / wall:,.0f} | {tar:.2f} | {writer:.2f} | {processor / files * 1e6:,.0f} |"
        )
    return "\n".join(lines)


def peak_memory(images: Path, target: Path) -> int:
    """Return the peak resident bytes of a fresh process that packs."""
    done = subprocess.run(
        [sys.executable, __file__, str(images), "--peak", str(target)], capture_output=True, text=True, check=True
    )
    shutil.rmtree(target)
    return int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        with_pack(given.images, given.peak)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    with tempfile.TemporaryDirectory() as room:
        once, many = Path(room) / "ONCE", Path(room) / "MANY"
        counts = {1: replicate(given.images, once, 1), given.copies: replicate(given.images, many, given.copies)}
        print(rates(many, *counts[given.copies], given.rounds, Path(room)), "\n")
        print("| images | peak resident memory, MiB |\n|---|---|")
        for images, (files, _) in zip((once, many), counts.values(), strict=True):
            print(f"| {files} | {peak_memory(images, Path(room) / 'TARGET') / (1 << 20):.0f} |")


if __name__ == "__main__":
    main()
