"""The plan of a packing: which image goes where, kept in SQLite so that memory does not grow with the set."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import xxhash

from shards import agreement
from shards.errors import UserError
from shards.files import printable, sync
from shards.sources.class_names import sort_classes
from shards.sources.records import Found, Ignored, Note, Record, Refused, Source
from shards.tar import BLOCK, padding

PLAN = "plan.sqlite"

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE listed (key, class_name, split, path, offset, length, extension, stamp, rank);
CREATE TABLE planned (position INTEGER PRIMARY KEY, key, class_name, split, path, offset, length, extension, stamp);
CREATE TABLE cuts (shard INTEGER PRIMARY KEY, first INTEGER, last INTEGER, bytes INTEGER);
CREATE TABLE refused (path, reason);
CREATE TABLE ignored (kind PRIMARY KEY, count INTEGER);
CREATE TABLE notes (text, facts);
CREATE TABLE facts (name PRIMARY KEY, value);
"""


_columns = attrgetter("key", "class_name", "split", "path", "offset", "length", "extension", "stamp")


@dataclass(frozen=True)
class Options:
    """What changes the bytes of a set.

    Attributes:
        shard_bytes: size that shards are cut at, judged by the images as they lie.
        resize: shorter side of the packed images in pixels, or None for the images as they are.
        max_pixels: images with more are refused.
    """

    shard_bytes: int
    resize: int | None
    max_pixels: int


@dataclass(frozen=True)
class Cut:
    """The part of the plan that is one shard: positions `first` to `last` - 1, and about how many bytes."""

    shard: int
    first: int
    last: int
    bytes: int


class Plan:
    """A plan that was written by `write_plan`.

    Attributes:
        root: of the source.
        kind: of the source.
        options: as given.
        classes: names, in the order of the labels.
        fingerprint: sha256 of all that decides the set's bytes, and of the files' times.
    """

    def __init__(self, folder: Path) -> None:
        self._uri = f"{(folder / PLAN).absolute().as_uri()}?mode=ro&immutable=1"
        facts = {name: json.loads(value) for name, value in self._all("SELECT name, value FROM facts")}
        self.root, self.kind = Path(facts["root"]), str(facts["kind"])
        self.options = Options(**facts["options"])
        self.classes: list[str] = facts["classes"]
        self.fingerprint = str(facts["fingerprint"])

    def _all(self, query: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self._uri, uri=True)) as base:
            return base.execute(query, values).fetchall()

    def cuts(self) -> list[Cut]:
        """Return all shards to be made."""
        return [Cut(*row) for row in self._all("SELECT * FROM cuts ORDER BY shard")]

    def records(self, shard: int) -> list[Record]:
        """Return the images of a shard, in their order there."""
        [(first, last)] = self._all("SELECT first, last FROM cuts WHERE shard = ?", shard)
        rows = self._all("SELECT * FROM planned WHERE position >= ? AND position < ? ORDER BY position", first, last)
        return [Record(*row[1:]) for row in rows]

    def refused(self) -> list[Refused]:
        """Return the images that were refused by their names or sizes."""
        return [Refused(*row) for row in self._all("SELECT * FROM refused")]

    def ignored(self) -> dict[str, int]:
        """Return how many files of which kind are not images."""
        return dict(self._all("SELECT * FROM ignored ORDER BY kind"))

    def notes(self) -> list[str]:
        """Return what the user has to know about the source."""
        return [text for (text,) in self._all("SELECT text FROM notes ORDER BY rowid")]

    def found(self) -> dict[str, Any]:
        """Return facts about the source, for the record of how the set was made."""
        facts: dict[str, Any] = {}
        for (told,) in self._all("SELECT facts FROM notes ORDER BY rowid"):
            facts |= json.loads(told)
        return facts


def write_plan(source: Source, folder: Path, options: Options) -> Plan:
    """List a source, shuffle it, cut it into shards, and write the plan into `folder`, in place of an older one.

    Raises:
        UserError: the source cannot be read, or has no image that could be packed.
    """
    path = folder / f"{PLAN}.tmp"
    try:
        _write(source, path, options)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sync(path)
    path.replace(folder / PLAN)
    return Plan(folder)


def _write(source: Source, path: Path, options: Options) -> None:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as base:
        base.executescript(_TABLES)
        _list(base, source.records())
        where = printable(source.given)
        agreement.name_splits(base, where)
        agreement.refuse_two_answers(base, where)
        fingerprint = hashlib.sha256(json.dumps([str(source.root.absolute()), source.kind, asdict(options)]).encode())
        base.executemany("INSERT INTO planned VALUES (?,?,?,?,?,?,?,?,?)", _shuffled(base, fingerprint))
        _cut(base, options.shard_bytes)
        classes = sort_classes(name for (name,) in base.execute("SELECT DISTINCT class_name FROM planned"))
        if not classes:
            raise UserError(_nothing(base, source))
        agreement.refuse_twins(base, classes, where)
        _list(base, map(Note, agreement.contradicted(base, classes, where)))
        fingerprint.update(repr(base.execute("SELECT * FROM refused").fetchall()).encode())
        facts = {
            "root": str(source.root.absolute()),
            "kind": source.kind,
            "options": asdict(options),
            "classes": classes,
            "fingerprint": fingerprint.hexdigest(),
        }
        base.executemany("INSERT INTO facts VALUES (?, ?)", [(name, json.dumps(value)) for name, value in facts.items()])
        base.executescript("DROP TABLE listed")
        base.commit()


def _list(base: sqlite3.Connection, found: Iterable[Found]) -> None:
    insert = "INSERT INTO listed VALUES (?,?,?,?,?,?,?,?,?)"
    for item in found:
        if isinstance(item, Record):
            rank = xxhash.xxh3_64_intdigest(item.key.encode()) - (1 << 63)  # SQLite's integers are signed
            base.execute(insert, (*_columns(item), rank))
        elif isinstance(item, Ignored):
            _ignore(base, item.kind)
        elif isinstance(item, Note):
            base.execute("INSERT INTO notes VALUES (?, ?)", (item.text, json.dumps(item.facts)))
        else:
            base.execute("INSERT INTO refused VALUES (?, ?)", (item.path, item.reason))


def _ignore(base: sqlite3.Connection, kind: str) -> None:
    base.execute("INSERT INTO ignored VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (kind,))


def _shuffled(base: sqlite3.Connection, fingerprint: "hashlib._Hash") -> Iterator[tuple[Any, ...]]:
    """Yield the listed images in the order of their keys' hashes, so that no shard is sorted by class."""
    last_key, last_place, position = None, (None, None), 0
    for *row, _ in base.execute("SELECT * FROM listed ORDER BY rank, key, rowid"):
        fingerprint.update(repr(row).encode())
        key, path, offset = row[0], row[3], row[4]
        if key == last_key and (path, offset) == last_place:
            _ignore(base, "listed again")
            continue
        if key == last_key:
            base.execute(
                "INSERT INTO refused VALUES (?, ?)", (path, f"has the same key {key!r} as {last_place[0]}: rename one of them")
            )
            continue
        yield (position, *row)
        last_key, last_place, position = key, (path, offset), position + 1


def _cut(base: sqlite3.Connection, shard_bytes: int) -> None:
    shard = first = size = position = 0
    insert = "INSERT INTO cuts VALUES (?, ?, ?, ?)"
    for position, length, split in base.execute("SELECT position, length, split FROM planned ORDER BY position"):
        member = 3 * BLOCK + length + padding(length) + (2 * BLOCK if split else 0)
        if size and size + member > shard_bytes:
            base.execute(insert, (shard, first, position, size))
            shard, first, size = shard + 1, position, 0
        size += member
    if size:
        base.execute(insert, (shard, first, position + 1, size))


def _nothing(base: sqlite3.Connection, source: Source) -> str:
    refused = base.execute("SELECT path, reason FROM refused LIMIT 1").fetchone()
    why = f"; the first one refused: {refused[0]} {refused[1]}" if refused else ""
    return f"{printable(source.given)} has no JPEG, PNG or TIFF image that can be packed{why}"
