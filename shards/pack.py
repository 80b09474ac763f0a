"""Packing images into a shard set: plan, one job a shard, merge.

The three steps are functions of their own that meet only on the disk, in the folder `<SHARDS>.partial`:
    plan.sqlite     which image goes where
    set/            the set in the making: finished shards, at last the index
    000000.json ... what each finished shard holds (see `shards.index_fragments`)
    bad.jsonl       images that could not be packed
So an interrupted packing continues with the shards that are not finished, and the jobs can run anywhere
(see `shards.distributed_pack`).
"""

import json
import logging
import os
import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path

from shards.description import Shard
from shards.errors import UserError
from shards.image_checks import MAX_PIXELS, BadImage, inspect, resized
from shards.index_fragments import IndexFragment, forget_index_fragment, read_index_fragment
from shards.merge import PackReport, merge
from shards.partial_folder import working_folder
from shards.plan import Options, Plan, write_plan
from shards.process_pool import in_order
from shards.progress import progress_bar
from shards.sources.records import Record, Refused, Source
from shards.tar import TarWriter

SHARD_BYTES = 256 << 20
log = logging.getLogger(__name__)


def pack(
    source: Source,
    target: Path,
    *,
    workers: int = 1,
    shard_bytes: int = SHARD_BYTES,
    resize: int | None = None,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> PackReport:
    """Pack a source into a new shard set; called again after an interruption, continue it.

    Args:
        source: from `shards.sources.open_source`.
        target: folder to make.
        workers: processes; the set's bytes do not depend on it.
        shard_bytes: size that shards are cut at.
        resize: scale images so that their shorter side has this many pixels.
        skip_bad: leave out images that cannot be packed, and list them in made.json.
        max_pixels: refuse images with more.

    Raises:
        UserError: the target exists, an option or the source is wrong, there are bad images, or the disk fails.
    """
    if shard_bytes < 1 or max_pixels < 1 or (resize is not None and resize < 1):
        raise UserError(f"shard size {shard_bytes}, resize {resize} and largest image {max_pixels} must be at least 1")
    try:
        with working_folder(target) as work:
            prepare(source, work, Options(shard_bytes, resize, max_pixels))
            _pack_shards(work, workers, skip_bad)
            return merge(work, target, skip_bad)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"packing into {target} failed ({error}): mend that and give the same command to continue") from error


def prepare(source: Source, work: Path, options: Options) -> Plan:
    """Write the plan; keep the shards that are finished only if it is the plan they were made by.

    Raises:
        UserError: the source cannot be read, or has no image that could be packed.
    """
    before = None
    with suppress(Exception):  # no plan yet, or one that a crash cut off
        before = Plan(work).fingerprint
    plan = write_plan(source, work, options)
    log.debug("%s: plan %s, %d shards", work, plan.fingerprint, len(plan.cuts()))
    if before != plan.fingerprint:
        left = [path for path in (*work.glob("[0-9]*.*"), *(work / "set").iterdir())]
        if left:
            log.info("The source or the options have changed since %s was begun: packing starts over.", work)
        for path in left:
            path.unlink()
    return plan


def unfinished(work: Path, retry_bad: bool) -> list[int]:
    """Return the shards that are still to be made; with `retry_bad` also those that met bad images, which may be mended."""
    fragments = ((cut.shard, packed(work, cut.shard)) for cut in Plan(work).cuts())
    return [shard for shard, fragment in fragments if fragment is None or (retry_bad and fragment.bad)]


def packed(work: Path, number: int) -> IndexFragment | None:
    """Return what a finished shard holds; None where it is not finished, or its tar has gone since or has another size."""
    fragment = read_index_fragment(work, number)
    if fragment is None or fragment.shard is None:
        return None
    tar = work / "set" / fragment.shard.name
    return fragment if tar.is_file() and tar.stat().st_size == fragment.shard.size else None


def _pack_shards(work: Path, workers: int, skip_bad: bool) -> None:
    cuts, todo = Plan(work).cuts(), unfinished(work, retry_bad=not skip_bad)
    say_continuing(work, len(todo), len(cuts))
    with progress_bar("packing", sum(cuts[shard].bytes for shard in todo)) as advance:
        for shard in in_order(partial(pack_shard, work), todo, workers):
            advance(cuts[shard].last - cuts[shard].first, cuts[shard].bytes)


def say_continuing(work: Path, todo: int, count: int) -> None:
    """Say that `todo` of `count` shards are still to be made, if that is not all."""
    if todo < count:
        log.info("Continuing %s: %d of %d shards are finished.", work, count - todo, count)


def pack_shard(work: Path, number: int) -> int:
    """Make one shard of the plan in `work` and return its number: images into a tar, then its fragment of the index."""
    plan, fragment = Plan(work), IndexFragment()
    labels = {name: label for label, name in enumerate(plan.classes)}
    path = work / "set" / f"shard-{number:06d}.tar"
    forget_index_fragment(work, number)
    with TarWriter(path) as tar:
        for record in plan.records(number):
            try:
                _add(plan, labels[record.class_name], record, tar, fragment)
            except BadImage as error:
                name = f"{record.path}: {record.key}" if record.offset else record.path
                fragment.bad.append(Refused(name, str(error)))
    fragment.write(work, number, Shard(path.name, tar.size, len(fragment), tar.sha256))
    return number


def _add(plan: Plan, label: int, record: Record, tar: TarWriter, fragment: IndexFragment) -> None:
    options, extension = plan.options, record.extension
    data = _read(f"{plan.root}/{record.path}", record)
    facts = inspect(data, options.max_pixels)
    if options.resize is not None:
        data, encoded = resized(data, options.resize, options.max_pixels)
        if encoded:
            extension, facts = encoded, inspect(data, options.max_pixels)
    members = [(record.key + extension, data), (f"{record.key}.cls", str(label).encode())]
    if record.split:
        members.append((f"{record.key}.json", json.dumps({"split": record.split}).encode()))
    offset = tar.add(members)
    fragment.add(record.key, record.class_name, record.split, offset=offset, data=data, facts=facts)


def _read(path: str, record: Record) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            data = os.pread(descriptor, record.length, record.offset)
            changed = os.fstat(descriptor).st_mtime_ns != record.stamp
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadImage(f"cannot be read ({error.strerror})") from None
    if len(data) != record.length or changed:
        raise BadImage("changed while it was packed: give the same command again")
    return data
