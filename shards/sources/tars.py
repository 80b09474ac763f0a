"""An existing WebDataset: a folder of tars, whose images are packed from where they lie in them."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import xxhash

from shards.errors import UserError
from shards.files import printable
from shards.sources.records import Found, Ignored, Note, Record, Refused, image_extension, refusal
from shards.sources.samples import Sample, samples
from shards.sources.survey import Places, Survey
from shards.sources.tally import Tally
from shards.sources.tar_files import all_tars, beside_tars, splits_of
from shards.split_words import split_word
from shards.tarscan import DamagedTar


@dataclass(frozen=True)
class WebDataset:
    """Plain tars in a folder or its sub-folders, read in the order of their names.

    Attributes:
        root: the folder.
        level: of the class folders in the tars, 1 for the outermost; None finds it.
        skip_damaged: take of a tar that is cut off or damaged the samples that are whole before the damage.
        kind: what it is.
    """

    root: Path
    level: int | None = None
    skip_damaged: bool = False
    kind: str = "WebDataset"

    @property
    def given(self) -> Path:
        """The folder."""
        return self.root

    def records(self) -> Iterator[Found]:
        """Yield the images in the order of the tars.

        The headers are read twice, since what a class is called, and whether keys come again in another tar, depends on all.

        Raises:
            UserError: a tar is damaged, the names of the tars or the classes contradict one another.
        """
        tars = all_tars(self.root)
        splits, notes = splits_of([self._name(path) for path in tars])
        reading = self._read(tars, splits)
        tally, found = Tally(), chain(beside_tars(self.root, tars), *(self._of_tar(path, reading) for path in tars))
        for item in found:
            if isinstance(item, Ignored):
                tally.add(item)
            yield item
        yield from map(Note, (*notes, *tally.notes()))
        yield from reading.notes()

    def _name(self, tar: Path) -> str:
        return str(tar.relative_to(self.root))

    def _read(self, tars: list[Path], splits: dict[str, str]) -> "_Reading":
        survey, keys, refused = Survey(), array("Q"), list[Refused]()

        def learn(sample: Sample) -> None:
            survey.add(sample.class_text, sample.folder)
            keys.append(xxhash.xxh3_64_intdigest(f"{sample.class_text}/{sample.name}".encode(errors="surrogatepass")))

        damaged: set[str] = set()
        cut: list[Sample] = []
        told_by: frozenset[str] = frozenset()
        for path in tars:
            of_tar, damage = _read_one(path, refused)
            if damage and not self.skip_damaged:
                raise UserError(f"{damage}; or give --skip-bad to take no more of it than the whole samples before")
            told_by = told_by.union(*(sample.told_by for sample in of_tar))
            if damage:
                damaged.add(self._name(path))
                cut += of_tar
            else:
                for sample in of_tar:
                    learn(sample)
        for sample in cut:
            if sample.told_by == told_by:
                learn(sample)
        try:
            places = survey.places(printable(self.root), level=self.level)
        except UserError as error:  # it may be that only for these
            told = f"; {len(refused):,} images are refused, the first: {refused[0].path} {refused[0].reason}" if refused else ""
            raise UserError(f"{error}{told}") from None
        return _Reading(splits, places, frozenset(damaged), told_by, _again(keys))

    def _of_tar(self, path: Path, reading: "_Reading") -> Iterator[Found]:
        tar, stamp = self._name(path), path.stat().st_mtime_ns
        found = None
        try:
            for found in samples(path):
                yield reading.record(tar, stamp, found) if isinstance(found, Sample) else found
        except DamagedTar as error:
            yield Refused(printable(tar), f"{error.reason}; no more is taken of it than the whole samples before")
        else:
            if found is None:
                yield Ignored("tars without a file", printable(tar))


def _read_one(path: Path, refused: list[Refused]) -> tuple[list[Sample], DamagedTar | None]:
    """Return the samples of a tar, and what is wrong with it; add what is refused."""
    of_tar: list[Sample] = []
    try:
        for found in samples(path):
            if isinstance(found, Sample):
                of_tar.append(found)
            elif isinstance(found, Refused):
                refused.append(found)
    except DamagedTar as damage:
        return of_tar, damage
    return of_tar, None


@dataclass(frozen=True)
class _Reading:
    """What all tars say together, learned before the first record.

    Attributes:
        splits: of the tars that have one by their name.
        places: what class texts and folders mean.
        damaged: tars that cannot be read to the end.
        told_by: endings of the files that tell of any sample.
        again: how many keys come again in another tar.
    """

    splits: dict[str, str]
    places: Places
    damaged: frozenset[str]
    told_by: frozenset[str]
    again: int

    def record(self, tar: str, stamp: int, sample: Sample) -> Found:
        """Return the record of a sample."""
        image, where = sample.image, f"{printable(tar)}: {printable(sample.key)}"
        if tar in self.damaged and (lost := self.told_by - sample.told_by):
            return Refused(where, f"may have lost its {' and '.join(sorted(lost))} file where its tar is damaged")
        placed = self.places.of(sample.class_text, sample.folder)
        if placed is None:  # the layout's notes tell of these
            return Ignored("mask" if self.places.is_mask(sample.folder) else "outside a class folder", where)
        splits = {split_word(sample.split) or sample.split, placed.split, self.splits.get(tar, "")} - {""}
        if len(splits) > 1:
            return Refused(where, f"has several splits, by its .json file, folder or tar: {', '.join(sorted(splits))}: correct one")
        split = "".join(splits)
        folder = f"{placed.key}/{tar[: -len('.tar')]}" if self.again else placed.key
        key = f"{folder}/{sample.name.rpartition('/')[2]}"
        if reason := refusal(key, placed.class_name, split, image.size):
            return Refused(where, reason)
        return Record(key, placed.class_name, split, tar, image.offset, image.size, image_extension(image.name), stamp)

    def notes(self) -> Iterator[Note]:
        """Yield a sentence for each thing that was taken and not asked for."""
        layout = self.places.layout
        for number, text in enumerate(self.places.notes):
            yield Note(text, {"layout": layout.facts()} if layout and layout.facts() and number == 0 else {})
        if self.again:
            yield Note(f"{self.again:,} keys come again in another tar: in each key the name of its tar follows the class")


def _again(hashes: "array[int]") -> int:
    """Count the keys that come again; 8 bytes a key in memory."""
    ordered = np.sort(np.frombuffer(hashes, np.uint64)) if hashes else np.empty(0, np.uint64)
    return int((ordered[1:] == ordered[:-1]).sum())
