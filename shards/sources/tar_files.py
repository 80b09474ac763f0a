"""The tars of a WebDataset: where they lie, what lies beside them, and what their names say."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from shards.description import INDEX, KEYS, MADE, SET
from shards.errors import UserError
from shards.files import printable
from shards.sources.records import Ignored, is_image
from shards.split_words import WORDS, names_split, split_word

_OF_A_SET = (INDEX, KEYS, SET, MADE)
_COMPRESSED = re.compile(r"\.(tar\.(gz|bz2|xz|zst|zstd|lz4|lz|lzma|lzo|br|z)|tgz|tbz2?|txz|tlz|tzst)$", re.IGNORECASE)
_DEPTH = 2  # sub-folders that tars may lie in


def tar_files(root: Path) -> list[Path]:
    """Return the tars directly in a folder, by name."""
    return sorted(path for path in root.glob("*.[tT][aA][rR]") if path.is_file())


def all_tars(root: Path) -> list[Path]:
    """Return the tars in a folder and its sub-folders, by name.

    Raises:
        UserError: one is compressed.
    """
    files = [path for path in _files(root) if not path.name.startswith(".")]
    compressed = sorted(path for path in files if _COMPRESSED.search(path.name))
    if compressed:
        raise UserError(
            f"{printable(compressed[0])} is a compressed tar, which cannot be read at any place: unpack it to .tar, "
            "or move it away if its images lie beside it"
        )
    return sorted(path for path in files if path.suffix.lower() == ".tar")


def is_webdataset(root: Path) -> bool:
    """Tell whether a folder is one of tars: some lie directly in it, or in sub-folders that hold no images."""
    if tar_files(root) or any(_COMPRESSED.search(path.name) for path in root.iterdir()):
        return True
    tars = False
    for path in _files(root):
        if is_image(path.name):
            return False
        tars = tars or path.suffix.lower() == ".tar"
    return tars


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, followlinks=True):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = [name for name in folders if depth < _DEPTH and not name.startswith(".")]
        yield from (path for name in names if (path := Path(folder, name)).is_file())


def beside_tars(root: Path, tars: Sequence[Path]) -> Iterator[Ignored]:
    """Yield what lies beside `tars`, in a folder or in one of theirs below it, and is no other part of a shard set."""
    holds = {*tars, *(folder for path in tars for folder in path.parents)}
    for path in sorted(root.iterdir()):
        if path in holds and path.is_dir():
            yield from beside_tars(path, tars)
        elif path not in holds and path.name not in _OF_A_SET and not path.name.startswith("."):
            yield Ignored("beside the tars", printable(path.name) + "/" * path.is_dir())


def splits_of(tars: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the split that each tar's path tells, in its folder or as the first word of its name, and sentences on that.

    `train-000000.tar`, `eurosat10-train-0.tar` and `val/000000.tar` do. Nothing is taken unless all tars tell one.
    """
    words = {tar: next(filter(None, map(split_word, _words(tar))), "") for tar in tars}
    counts = Counter(words.values())
    shown = ", ".join(f"{word} ({count})" for word, count in sorted(counts.items()) if word)
    if not shown:
        like = [tar for tar in tars if any(map(names_split, _words(tar)))]
        known = ", ".join(WORDS[:-1])
        note = f"{len(like):,} tars are called like splits, such as {printable(min(like, default=''))}, but none of {known}"
        return {}, [f"{note}: no split is taken from their names"] * bool(like)
    if "" not in counts:
        return words, [f"splits are taken from the names of the tars: {shown}"]
    other = next(tar for tar, word in words.items() if not word)
    return {}, [
        f"the names of some tars look like splits, {shown}, but not that of {printable(other)}: no split is taken from them"
    ]


def _words(tar: str) -> list[str]:
    *folders, name = tar.split("/")
    # train-000000, test_seen-0, eurosat10-train-000000: several words before one.
    words = re.findall(r"[^\W\d_]+", name.rpartition(".")[0])
    pairs = ["_".join(pair) for pair in pairwise(words)]
    return [*reversed(folders), "_".join(words), *pairs, *words]
