"""The sidecar index of a shard set: its files, how they are written, and how they are opened.

A shard set is a folder of
    shard-000000.tar ...   standard ustar WebDataset shards
    index.bin              one fixed-size RECORD a sample, in shard and offset order
    keys.txt               one sample key a line, in the same order
    set.json               classes, shards with sizes and hashes, hashes of the two files above
    made.json              how the set was made (not needed to read it)
All but made.json can be rebuilt from the tars alone, byte for byte.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError

FORMAT = 1
INDEX, KEYS, SET, MADE = "index.bin", "keys.txt", "set.json", "made.json"
MAX_JSON_BYTES = 256 << 20

RECORD = np.dtype(
    [
        ("offset", "<u8"),  # of the image bytes in the tar file
        ("key", "<u8"),  # offset of the key's line in keys.txt
        ("checksum", "<u8"),  # xxh3-64 of the image bytes
        ("phash", "<u8"),  # 64-bit difference hash of the picture, for near-duplicates
        ("length", "<u4"),  # of the image bytes
        ("shard", "<u4"),
        ("label", "<u4"),
        ("split", "<u4"),  # place in ShardSet.splits; 0 where the source named none
        ("width", "<u2"),
        ("height", "<u2"),
    ]
)


@dataclass(frozen=True)
class Shard:
    """One tar of a set: file name, bytes, number of samples, sha256 in hexadecimal."""

    name: str
    size: int
    samples: int
    sha256: str


@dataclass(frozen=True)
class ShardSet:
    """An opened shard set; `records` is memory-mapped, so opening costs no memory a sample.

    Attributes:
        root: the folder.
        classes: class names; a record's label is a place in this list.
        splits: names of the source's own splits ("" first); a record's split is a place in this list.
        shards: the tars, in order.
        records: [samples] of RECORD.
        digest: sha256 of the set's description, which covers all other hashes: the identity of the data.
    """

    root: Path
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    shards: tuple[Shard, ...]
    records: NDArray[np.void]
    digest: str
    _keys: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every sample, [samples]."""
        return self.records["label"].astype(np.int64)

    def key(self, sample: int) -> str:
        """Return the key of a sample, such as `Airport/airport_1`."""
        start = int(self.records["key"][sample])
        end = int(self.records["key"][sample + 1]) if sample + 1 < len(self) else len(self._keys)
        return self._keys[start : end - 1].tobytes().decode()

    def path(self, sample: int) -> Path:
        """Return the tar that holds a sample."""
        return self.root / self.shards[int(self.records["shard"][sample])].name

    @classmethod
    def open(cls, root: Path | str) -> "ShardSet":
        """Open a set and check that its index belongs to it.

        Raises:
            UserError: not a shard set, damaged, or made by a newer version.
        """
        root = Path(root)
        if not (root / SET).is_file():
            raise UserError(
                f"{root} is not a shard set (it has no {SET}): pack images with `dsva pack IMAGES {root}`, "
                f"or give WebDataset tars an index with `dsva shards index {root}`"
            )
        described = read_description(root / SET)
        for name in (INDEX, KEYS):
            if not (root / name).is_file() or file_sha256(root / name) != described[name]:
                raise UserError(f"{root / name} does not match {SET}: rebuild it with `dsva shards index {root}`")
        records = _map(root / INDEX, RECORD)
        keys = _map(root / KEYS, np.dtype(np.uint8))
        shards = tuple(Shard(**shard) for shard in described["shards"])
        opened = cls(root, tuple(described["classes"]), tuple(described["splits"]), shards, records, described["digest"], keys)
        opened._check_bounds()
        return opened

    def _check_bounds(self) -> None:
        # The digests prove that the files belong together, not that a stranger wrote them honestly.
        r = self.records
        sizes = np.array([shard.size for shard in self.shards], np.uint64)
        fine = len(r) > 0 and len(sizes) > 0 and all(Path(s.name).name == s.name for s in self.shards)
        fine = fine and bool((r["shard"] < len(sizes)).all() and (r["label"] < len(self.classes)).all())
        fine = fine and bool((r["split"] < len(self.splits)).all() and (r["key"] < len(self._keys)).all())
        fine = fine and bool((np.diff(r["key"].astype(np.int64)) > 0).all())
        fine = fine and bool((r["offset"] <= sizes[r["shard"]]).all())
        fine = fine and bool((r["length"] <= sizes[r["shard"]] - r["offset"]).all())
        if not fine:
            raise UserError(f"{self.root / INDEX} points outside its shards: rebuild it with `dsva shards index {self.root}`")


def _map(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0 or path.stat().st_size % dtype.itemsize:
        raise UserError(f"{path} is empty or cut off: rebuild it with `dsva shards index {path.parent}`")
    return np.memmap(path, dtype, mode="r")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(described: dict[str, Any]) -> str:
    plain = {name: value for name, value in described.items() if name != "digest"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_description(
    root: Path, classes: Iterable[str], splits: Iterable[str], shards: Iterable[Shard], samples: int
) -> str:
    """Write set.json for the index.bin and keys.txt in `root`; return the set's digest."""
    described: dict[str, Any] = {
        "format": FORMAT,
        "samples": samples,
        "classes": list(classes),
        "splits": list(splits),
        "shards": [vars(shard) for shard in shards],
        INDEX: file_sha256(root / INDEX),
        KEYS: file_sha256(root / KEYS),
    }
    described["digest"] = _digest(described)
    (root / SET).write_text(json.dumps(described, indent=1) + "\n")
    return str(described["digest"])


def read_description(path: Path) -> dict[str, Any]:
    """Read a set.json and check its own digest.

    Raises:
        UserError: not JSON, changed since it was written, or of another format.
    """
    mend = f"rebuild it with `dsva shards index {path.parent}`"
    if path.stat().st_size > MAX_JSON_BYTES:
        raise UserError(f"{path} is larger than {MAX_JSON_BYTES >> 20} MiB: {mend}")
    try:
        described = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): {mend}") from None
    if not isinstance(described, dict) or described.get("digest") != _digest(described):
        raise UserError(f"{path} was changed or damaged after it was written: {mend}")
    if described.get("format") != FORMAT:
        raise UserError(f"{path} has format {described.get('format')}, this version reads {FORMAT}: {mend}")
    return described
