"""The last step of packing: finished shards become a set."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from shards.description import MADE, read_digested, write_description, write_digested
from shards.duplicates import Duplicates, find_duplicates
from shards.errors import UserError
from shards.files import replace_with, sync
from shards.index import ShardSet
from shards.index_fragments import finished, join
from shards.plan import Plan
from shards.sources.records import Refused

BAD = "bad.jsonl"
_SHOWN = 3


@dataclass(frozen=True)
class PackReport:
    """What was packed.

    Attributes:
        shards: the set, opened.
        skipped: images left out, and why.
        ignored: how many files of which kind are not images.
        notes: what the user has to know about the source.
        duplicates: images that occur more than once.
    """

    shards: ShardSet
    skipped: tuple[Refused, ...]
    ignored: dict[str, int]
    notes: tuple[str, ...]
    duplicates: Duplicates


def merge(work: Path, target: Path, skip_bad: bool) -> PackReport:
    """Join the finished shards in `work` to a set, and rename it to `target`.

    Raises:
        UserError: there are bad images and `skip_bad` is not given, or a class is left without an image.
    """
    plan = Plan(work)
    count, making = len(plan.cuts()), work / "set"
    bad = [*plan.refused(), *chain.from_iterable(fragment.bad for fragment in finished(work, count))]
    _list_bad(work / BAD, bad, skip_bad)
    seen, splits = {name: 0 for name in plan.classes}, Counter[str]()
    for fragment in finished(work, count):
        seen.update(dict.fromkeys(fragment.classes, 1))
        splits.update(fragment.splits)
    if empty := [name for name, there in seen.items() if not there]:
        raise UserError(f"class {empty[0]!r} has no image that can be packed (see {work / BAD}): mend one, or remove the class")
    labels, places = _places(plan.classes), split_places(splits)
    shards = join(work, count, making, labels, places)
    turned = sum(fragment.turned for fragment in finished(work, count))
    digest = write_description(making, labels, places, shards, sum(shard.samples for shard in shards), turned)
    _write_made(making / MADE, plan, bad, digest)
    making.rename(target)
    sync(target.parent)
    shutil.rmtree(work)
    return report(target)


def report(target: Path) -> PackReport:
    """Tell what was packed into a finished set.

    Raises:
        UserError: it is no set, or was not made by packing.
    """
    packed, made = ShardSet.open(target), read_digested(target / MADE)
    skipped = tuple(Refused(*image) for image in made["skipped"])
    return PackReport(packed, skipped, made["ignored"], tuple(made.get("notes", ())), find_duplicates(packed))


def _list_bad(path: Path, bad: list[Refused], skip_bad: bool) -> None:
    replace_with(path, "".join(json.dumps(asdict(image)) + "\n" for image in bad).encode())
    if bad and not skip_bad:
        first = "; ".join(f"{image.path} {image.reason}" for image in bad[:_SHOWN])
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise UserError(
            f"{len(bad)} images cannot be packed ({first}{more}): mend them, "
            f"or give the same command with --skip-bad to leave them out; all are listed in {path}"
        )


def _places(names: Iterable[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def split_places(names: Iterable[str]) -> dict[str, int]:
    """Return the place of every split name: "" is 0, the others follow by name."""
    return _places(["", *sorted(set(names) - {""})])


def _write_made(path: Path, plan: Plan, bad: list[Refused], digest: str) -> None:
    made: dict[str, Any] = {
        "set": digest,
        "version": version("dsva"),
        "source": plan.kind,
        "options": asdict(plan.options),
        "ignored": plan.ignored(),
        "skipped": [[image.path, image.reason] for image in bad],
        **plan.found(),
    }
    if notes := plan.notes():
        made["notes"] = notes
    write_digested(path, made)
