"""The sidecar index of a shard set: its files, how they are written, and how they are opened.

A shard set is a folder of
    shard-000000.tar ...   standard ustar WebDataset shards
    index.bin              one fixed-size RECORD a sample, in shard and offset order
    keys.txt               one sample key a line, in the same order
    set.json               classes, shards with sizes and hashes, hashes of the two files above
    made.json              how the set was made (not needed to read it)
All but made.json can be rebuilt from the tars alone, byte for byte.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.description import INDEX, KEYS, SET, Shard, read_description
from shards.errors import UserError
from shards.files import file_sha256, without_control

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
class ShardSet:
    """An opened shard set; `records` is memory-mapped, so opening costs no memory a sample.

    Attributes:
        root: the folder.
        classes: class names; a record's label is a place in this list.
        splits: names of the source's own splits ("" first); a record's split is a place in this list.
        shards: the tars, in order.
        records: [samples] of RECORD.
        digest: sha256 of the set's description, which covers all other hashes: the identity of the data.
        turned: number of JPEG and PNG images that are turned upright, as their orientation tags say; sets packed by versions
            that did not turn them have none.
    """

    root: Path
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    shards: tuple[Shard, ...]
    records: NDArray[np.void]
    digest: str
    _keys: NDArray[np.uint8]
    turned: int = 0

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
        # Packing lets no control character into a key; a stranger's set may hold some.
        return without_control(self._keys[start : end - 1].tobytes().decode(errors="backslashreplace"))

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
        described = read_description(root)
        for name, sha256 in ((INDEX, described.index_sha256), (KEYS, described.keys_sha256)):
            if not (root / name).is_file() or file_sha256(root / name) != sha256:
                raise UserError(f"{root / name} does not match {SET}: rebuild it with `dsva shards index {root}`")
        records, keys = _map(root / INDEX, RECORD), _map(root / KEYS, np.dtype(np.uint8))
        names = (described.classes, described.splits, described.shards)
        opened = cls(root, *names, records, described.digest, keys, described.turned)
        opened._check_bounds()
        return opened

    def _check_bounds(self) -> None:
        # The digests prove that the files belong together, not that a stranger wrote them honestly.
        r = self.records
        sizes = np.array([shard.size for shard in self.shards], np.uint64)
        samples = [shard.samples for shard in self.shards]
        # In shard order, as many in each as set.json says; so every shard number exists. Counted first: it may say any number.
        fine = sum(samples) == len(r) and np.array_equal(np.repeat(np.arange(len(sizes)), samples), r["shard"])
        fine = fine and bool((r["label"] < len(self.classes)).all() and (r["split"] < len(self.splits)).all())
        fine = fine and bool((r["key"] < len(self._keys)).all() and (r["key"][1:] > r["key"][:-1]).all())
        fine = fine and bool((r["offset"] <= sizes[r["shard"]]).all())
        fine = fine and bool((r["length"] <= sizes[r["shard"]] - r["offset"]).all())
        if not fine:
            raise UserError(f"{self.root / INDEX} points outside its shards: rebuild it with `dsva shards index {self.root}`")


def _map(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0 or path.stat().st_size % dtype.itemsize:
        raise UserError(f"{path} is empty or cut off: rebuild it with `dsva shards index {path.parent}`")
    return np.memmap(path, dtype, mode="r")
