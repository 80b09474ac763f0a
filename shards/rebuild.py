"""An index from the tars alone: for a set whose index was lost, and for WebDatasets that were written elsewhere."""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from shards.description import INDEX, KEYS, MADE, SET, Shard, write_description
from shards.errors import UserError
from shards.files import file_sha256, printable, sync
from shards.image_checks import MAX_PIXELS, BadImage, inspect
from shards.index import ShardSet
from shards.index_fragments import IndexFragment, counts, finished, join
from shards.merge import split_places
from shards.names import same_names, told_apart
from shards.process_pool import in_order
from shards.progress import progress_bar
from shards.sources.class_names import sort_classes
from shards.sources.layout import Placed
from shards.sources.records import Ignored, Refused, name_refusal, size_refusal
from shards.sources.samples import Sample, samples
from shards.sources.survey import Places, Survey
from shards.sources.tally import Tally
from shards.sources.tar_files import all_tars, beside_tars, splits_of, tar_files
from shards.sources.walk import told as counted
from shards.split_words import refuse_unknown, split_word

_SHOWN = 3
log = logging.getLogger(__name__)


def rebuild(
    root: Path,
    *,
    level: int | None = None,
    workers: int = 1,
    max_pixels: int = MAX_PIXELS,
) -> ShardSet:
    """Write index.bin, keys.txt and set.json for the tars in a folder, and open the set.

    The new files are made beside the old ones and renamed at the end, set.json last; a crash between
    the renames is noticed by `ShardSet.open`, and mended by another rebuild.

    Args:
        root: folder with plain tars directly in it.
        level: of the class folders in the tars, where they alone tell the classes; found if not given.
        workers: processes.
        max_pixels: refuse images with more.

    Raises:
        UserError: there is no tar, one is damaged, or a sample has no usable image or class.
    """
    tars = _tars(root)
    beside = Tally()
    for ignored in beside_tars(root, tars):
        beside.add(ignored)
    try:
        with _beside(root) as folder:
            of_tars, notes = splits_of([path.name for path in tars])
            _scan_all(tars, of_tars, folder, workers, max_pixels)
            notes += _write(folder, len(tars), level, beside)
            for name in (INDEX, KEYS, SET):
                (folder / name).replace(root / name)
            sync(root)
    except OSError as error:
        raise UserError(f"the index of {root} cannot be rebuilt ({error}): mend that and try again") from error
    if beside.counts:
        log.info("no images: %s", counted(Counter(beside.counts)))
    for note in (*beside.notes(), *notes):
        log.info("note: %s", note)
    return ShardSet.open(root)


@contextmanager
def _beside(root: Path) -> Iterator[Path]:
    folder = root / ".index.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _tars(root: Path) -> list[Path]:
    """Return the tars of the set, which an index can hold directly in its folder only."""
    tars, every = tar_files(root), all_tars(root) if root.is_dir() else []
    if not every:
        raise UserError(f"{root} has no .tar file: give a folder of WebDataset tars")
    if len(tars) < len(every) and not (root / MADE).exists():
        inner = next(path for path in every if path not in tars)
        raise UserError(f"{printable(inner)} is in a sub-folder, where an index cannot have it: give that folder, or {_pack(root)}")
    return tars


def _scan_all(tars: list[Path], splits: Mapping[str, str], folder: Path, workers: int, max_pixels: int) -> None:
    sizes = [path.stat().st_size for path in tars]
    with progress_bar("indexing", sum(sizes)) as advance:
        jobs = ((number, path, splits.get(path.name, "")) for number, path in enumerate(tars))
        for count, size in zip(in_order(partial(_scan, folder, max_pixels), jobs, workers), sizes, strict=True):
            advance(count, size)


def _scan(folder: Path, max_pixels: int, job: tuple[int, Path, str]) -> int:
    """Write the fragment of one tar, and return how many images it has.

    Its classes are pairs of class text and folder, its splits pairs of split and folder, since what a folder means is found last.
    """
    number, path, split = job
    fragment = IndexFragment()
    with path.open("rb", buffering=0) as file:
        for sample in samples(path):
            if isinstance(sample, Refused):
                fragment.bad.append(sample)
            elif isinstance(sample, Ignored):
                fragment.ignored.add(sample)
            else:
                _add(fragment, path, file.fileno(), sample, split, max_pixels)
    fragment.write(folder, number, Shard(path.name, path.stat().st_size, len(fragment), file_sha256(path)))
    return len(fragment)


def _add(fragment: IndexFragment, path: Path, descriptor: int, sample: Sample, split: str, max_pixels: int) -> None:
    image = sample.image
    try:
        class_name = sample.class_text or sample.folder.rpartition("/")[2]
        if reason := name_refusal(sample.key, class_name, sample.split) or size_refusal(image.size):
            raise BadImage(reason)
        if split and sample.split and split_word(sample.split) != split:
            raise BadImage(f"has the split {sample.split!r} in its .json file and {split!r} by its tar's name")
        data = os.pread(descriptor, image.size, image.offset)
        facts = inspect(data, max_pixels)
    except BadImage as error:
        fragment.bad.append(Refused(f"{printable(path.name)}: {printable(sample.key)}", str(error)))
        return
    told, by = f"{sample.class_text}\n{sample.folder}", f"{sample.split or split}\n{sample.folder}"
    fragment.add(sample.key, told, by, offset=image.offset, data=data, facts=facts)


def _write(folder: Path, count: int, level: int | None, beside: Tally) -> tuple[str, ...]:
    """Write the index of all fragments; add what they ignored to `beside`, and return sentences on what was taken."""
    root, survey = folder.parent, Survey()
    bad = [image for fragment in finished(folder, count) for image in fragment.bad]
    if bad:
        first = "; ".join(f"{image.path} {image.reason}" for image in bad[:_SHOWN])
        raise UserError(f"{len(bad)} samples cannot be indexed ({first}): {_pack(root, ' --skip-bad')}")
    told: set[str] = set()
    splits = Counter[str]()
    for number, fragment in enumerate(finished(folder, count)):
        told |= fragment.classes.keys()
        splits.update(counts(folder, number, fragment.splits, "split"))
        beside.update(fragment.ignored)
        for pair, images in counts(folder, number, fragment.classes, "label").items():
            text, _, place = pair.partition("\n")
            survey.add(text, place, images)
    if not told:
        raise UserError(f"the tars in {root} hold no JPEG, PNG or TIFF image")
    places = survey.places(printable(root), level=level, gaps=False)
    if (root / MADE).exists() and survey.classes.folders() is None:
        raise UserError(f"the .cls files of {root} disagree with its folders, so a tar is damaged: fetch or pack it again")
    classes, split_of = _classes(places, told), {pair: _split(places, pair) for pair in splits}
    labels = {name: label for label, name in enumerate(classes)}
    if not (root / MADE).exists() and (same := same_names(classes)):
        raise UserError(f"{printable(root)} has the classes {told_apart(*same)}, which people read as one: give them one name")
    of_pair = {pair: labels[_placed(places, pair).class_name] for pair in told}
    numbers = split_places(split_of.values())
    if not (root / MADE).exists():  # what was packed before may have splits, and classes, of its own
        refuse_unknown({pair.partition("\n")[0]: images for pair, images in splits.items()}, printable(root))
    shards = join(folder, count, folder, of_pair, {pair: numbers[split] for pair, split in split_of.items()})
    _refuse_same_keys(folder / KEYS, root)
    turned = sum(fragment.turned for fragment in finished(folder, count))
    write_description(folder, classes, numbers, shards, sum(shard.samples for shard in shards), turned)
    return (*places.notes, *survey.classes.notes(printable(root)))


def _pack(root: Path, option: str = "") -> str:
    return f"pack them into a new set with `dsva pack {root} NEW{option}`"


def _placed(places: Places, pair: str) -> Placed:
    text, _, folder = pair.partition("\n")
    placed = places.of(text, folder)
    if placed is None:
        raise UserError(
            f"images in {folder!r} lie outside the class folders and have no .cls file: write these, or move the images"
        )
    return placed


def _classes(places: Places, told: Collection[str]) -> list[str]:
    """Return the names of the classes in the order of the labels."""
    if places.layout is None:
        return list(places.names.values())
    return sort_classes({_placed(places, pair).class_name for pair in told})


def _split(places: Places, pair: str) -> str:
    split, _, folder = pair.partition("\n")
    by_folder = places.split_of(folder)
    if split and by_folder and split_word(split) != by_folder:
        raise UserError(f"images in {folder!r} have the split {split!r} by their tars' names or .json files: correct one")
    return split or by_folder


def _refuse_same_keys(keys: Path, root: Path) -> None:
    """Raise a UserError if two lines are the same; 8 bytes a line in memory."""
    with keys.open("rb") as file:
        hashes = np.sort(np.fromiter(map(xxhash.xxh3_64_intdigest, file), np.uint64))
    twice = hashes[1:][hashes[1:] == hashes[:-1]]
    if len(twice):
        with keys.open("rb") as file:
            key = next(line for line in file if xxhash.xxh3_64_intdigest(line) == twice[0])
        name = printable(key.decode().rstrip("\n"))
        raise UserError(
            f"{len(twice)} samples have a key that another has too ({name}), and an index cannot change the tars: {_pack(root)}, "
            "whose keys hold the names of the tars where they must"
        )
