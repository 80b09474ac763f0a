"""Packing by many processes on many machines: a plan cut into parts; whoever finishes the last shard makes the set of them.

The parts meet only on the disk, in the working folder that `shards.pack` describes, so each can be killed, started again
or done twice, in any order.
"""

import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shards.errors import UserError
from shards.index_fragments import forget_index_fragment
from shards.locks import TOGETHER
from shards.merge import merge
from shards.pack import pack_shard, packed, prepare, say_continuing, unfinished
from shards.partial_folder import locked, working, working_folder
from shards.plan import Options, Plan
from shards.process_pool import in_order
from shards.sources.records import Source


@dataclass(frozen=True)
class DistributedPack:
    """A packing that was planned: numbers of the shards that each part makes, and what they are valid for."""

    fingerprint: str
    shards: list[list[int]]


def plan_parts(source: Source, target: Path, options: Options, count: int, skip_bad: bool) -> DistributedPack:
    """Plan the packing of a source into `target`, or what is left of it, in at most `count` parts.

    Shards that met bad images count as unfinished unless `skip_bad` is given: the images may have been mended. No part
    is left where only the merge is missing.

    Raises:
        UserError: the target exists, another process packs it, the source is wrong, or the disk fails.
    """
    try:
        with working_folder(target) as work:
            plan = prepare(source, work, options)
            todo = unfinished(work, retry_bad=not skip_bad)
            say_continuing(work, len(todo), len(plan.cuts()))
            for shard in todo:
                forget_index_fragment(work, shard)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"packing into {target} cannot begin ({error}): mend that and give the same command again") from error
    return DistributedPack(plan.fingerprint, [todo[part::count] for part in range(min(count, len(todo)))])


def pack_part(target: Path, fingerprint: str, shards: Sequence[int], *, workers: int = 1, skip_bad: bool = False) -> None:
    """Make those shards of a part that are not finished; then, if no shard is left and no part at work, the set.

    Args:
        target: as planned.
        fingerprint: of the plan.
        shards: numbers of the part's shards.
        workers: processes.
        skip_bad: leave out images that cannot be packed.

    Raises:
        UserError: the plan is another by now, or there are bad images when the set is made.
        OSError: the disk fails.
    """
    work = working(target)
    if target.exists():  # whoever made it may have been killed before it had cleared away
        shutil.rmtree(work, ignore_errors=True)
        return
    try:
        with locked(work, TOGETHER, wait=True):
            if Plan(work).fingerprint != fingerprint:
                raise UserError(f"{work} was planned anew since this part was cut: nothing is left of it to do")
            todo = [shard for shard in shards if packed(work, shard) is None]
            for _ in in_order(partial(pack_shard, work), todo, workers):
                pass
        # A part that is still at work keeps the lock, and asks the same question when it ends.
        with locked(work) as alone:
            if alone and not target.exists() and not unfinished(work, retry_bad=False):
                merge(work, target, skip_bad)
    except (FileNotFoundError, sqlite3.OperationalError):
        if not target.exists():  # else another part has made the set
            raise


def sizes(target: Path) -> dict[int, tuple[int, int]]:
    """Return about how many images and bytes each shard of a packing under way has; nothing once the set is made."""
    try:
        return {cut.shard: (cut.last - cut.first, cut.bytes) for cut in Plan(working(target)).cuts()}
    except sqlite3.OperationalError:
        return {}


def finished(target: Path) -> set[int]:
    """Return the shards of a packing under way that are finished."""
    return {int(path.stem) for path in working(target).glob("[0-9]*.json")}
