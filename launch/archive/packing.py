"""Packing as a job array."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from launch.archive.actions import Spread, Undertaking
from launch.archive.array import Array
from launch.archive.printing import print_packed
from launch.archive.task import PackTask
from shards.distributed_pack import finished, pack_part, plan_parts, sizes
from shards.merge import report
from shards.plan import Options
from shards.sources.records import Source


class Packing(Undertaking):
    """Making the set `of` from a source; the last part that ends makes it of the shards."""

    what = "packing"

    def __init__(self, source: Source, target: Path, options: Options, skip_bad: bool) -> None:
        self.of = target.absolute()
        self.asked = {"options": asdict(options), "skip_bad": skip_bad}
        self.array = Array(self.of.with_name(f"{self.of.name}.packing"))
        self._source, self._options, self._skip_bad = source, options, skip_bad

    def done(self) -> bool:
        """Return whether the set is there, and was made by this array."""
        return self.of.exists() and self.array.asked() is not None

    def parts(self, spread: Spread) -> Sequence[PackTask]:
        """Plan; where all shards are finished, make the set."""
        planned = plan_parts(self._source, self.of, self._options, spread.jobs, self._skip_bad)
        if not planned.shards:
            pack_part(self.of, planned.fingerprint, [], skip_bad=self._skip_bad)
        return [
            PackTask(self.array.part(number), tuple(shards), spread.workers, self.of, planned.fingerprint, self._skip_bad)
            for number, shards in enumerate(planned.shards)
        ]

    def sizes(self) -> dict[int, tuple[int, int]]:
        """Return about how many images and bytes each shard has."""
        return sizes(self.of)

    def finished(self) -> set[int]:
        """Return the shards that are finished."""
        return finished(self.of)

    def report(self) -> None:
        """Say what was packed."""
        print_packed(report(self.of))
        self.array.forget()
