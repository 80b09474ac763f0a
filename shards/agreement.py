"""What a source says of its images, compared before they are packed: names that are one, splits, labels, folders."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from shards.errors import UserError
from shards.files import printable
from shards.names import alias, same_names, told_apart
from shards.split_words import refuse_unknown, split_word

SHOWN = 3


def name_splits(base: sqlite3.Connection, where: str) -> None:
    """Give every listed image the known word for its split.

    Raises:
        UserError: a split is no known word.
    """
    counts = dict(base.execute("SELECT split, COUNT(*) FROM listed GROUP BY split"))
    refuse_unknown(counts, where)
    words = ((split_word(text), text) for text in counts)
    base.executemany("UPDATE listed SET split = ? WHERE split = ?", [(word, text) for word, text in words if word != text])


def refuse_two_answers(base: sqlite3.Connection, where: str) -> None:
    """Refuse a source that lists an image with two classes or two splits.

    Raises:
        UserError: it does.
    """
    classes, splits = "GROUP_CONCAT(DISTINCT class_name)", "GROUP_CONCAT(DISTINCT split)"
    differ = "HAVING MIN(class_name) != MAX(class_name) OR MIN(split) != MAX(split)"
    twice = base.execute(f"SELECT path, {classes}, {splits} FROM listed GROUP BY path, offset {differ}").fetchall()
    if twice:
        shown = ", ".join(f"{printable(path)} (classes {names}; splits {words or 'none'})" for path, names, words in twice[:SHOWN])
        raise UserError(
            f"{where} lists {len(twice):,} images with more than one class or split, such as {shown}: give each image one of each"
        )


def refuse_twins(base: sqlite3.Connection, classes: Sequence[str], where: str) -> None:
    """Refuse classes that are different names to a computer and one to people.

    Raises:
        UserError: there are two such classes.
    """
    if same := same_names(classes):
        first, second = (base.execute("SELECT COUNT(*) FROM planned WHERE class_name = ?", (name,)).fetchone()[0] for name in same)
        raise UserError(
            f"{where} has the classes {told_apart(*same)} ({first:,} and {second:,} images), which people read as one: "
            "give them one name, or names that differ in letters or digits"
        )


def contradicted(base: sqlite3.Connection, classes: Iterable[str], where: str) -> Iterator[str]:
    """Yield sentences on images that lie in a folder called as another class or split than theirs, if there are any.

    Raises:
        UserError: most images lie in the folder of another class.
    """
    known = {alias(name) for name in classes}

    @lru_cache(maxsize=1 << 16)
    def said(folders: str) -> tuple[str, str]:
        """Return the class and the split that folders are called as, the innermost first; "" for none."""
        parts = [(part, alias(part)) for part in reversed(folders.split("/"))]
        of_class = next((short for _, short in parts if short in known), "")
        return of_class, next((word for part, short in parts if short not in known and (word := split_word(part))), "")

    total, classed, splits = 0, Counter[str](), Counter[str]()
    for key, class_name, split in base.execute("SELECT key, class_name, split FROM planned"):
        total += 1
        folders = key.removeprefix(f"{class_name}/").rpartition("/")[0]
        of_class, of_split = said(folders)
        if of_class and of_class != alias(class_name):
            classed[f"{folders}/ as {class_name!r}"] += 1
        if of_split and _kind(of_split) != _kind(split):
            splits[f"{folders}/ as {split or 'no split'!r}"] += 1
    if told := _told(classed, total, "class"):
        if 2 * classed.total() > total:
            mend = "correct the labels (shifted, or the classes in another order?), or rename the folders"
            raise UserError(f"{where}: {told}: {mend}")
        yield f"{told}; the labels count"
    if told := _told(splits, total, "split"):
        yield f"{told}; what is given as their split counts"


def _kind(split: str) -> str:
    return split.partition("_")[0]


def _told(found: Counter[str], total: int, called: str) -> str:
    shown = ", ".join(f"{count:,} in {text}" for text, count in found.most_common(SHOWN))
    return f"{found.total():,} of {total:,} images lie in folders called as another {called} than theirs: {shown}" if found else ""
