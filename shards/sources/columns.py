"""The columns of a table of images: which is the path, the class and the split, and which only looks like it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from shards.errors import UserError
from shards.names import alias
from shards.sources.layout import listed
from shards.split_words import WORDS, names_split, split_word

# What others call the columns, by `alias`.
_LIKE = {
    "path": {"file", "files", "filename", "filepath", "image", "images", "imagepath", "imagename", "imagefile", "img", "imgpath"},
    "class": {"label", "labels", "classname", "classlabel", "labelname", "category", "categoryname", "scene", "target", "classes"},
}
_MOST_VALUES = 8  # of a column that may be a split


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns as they stand in it; `split` is None where there is none, `others` are not taken."""

    path: str
    class_name: str
    split: str | None
    others: tuple[str, ...]
    last: str

    @property
    def taken(self) -> list[str]:
        """The columns that are taken."""
        return [name for name in (self.path, self.class_name, self.split) if name is not None]

    @staticmethod
    def there(names: Sequence[str]) -> bool:
        """Tell whether path and class are among the names, whatever their case and the spaces around them."""
        return {"path", "class"} <= set(map(alias, names))

    @classmethod
    def of(cls, path: Path, names: Sequence[str]) -> Self:
        """Find the columns of the table `path`.

        Raises:
            UserError: path or class is missing, or a column is there twice.
        """
        found = {wanted: [name for name in names if alias(name) == wanted] for wanted in ("path", "class", "split")}
        if twice := next((given for given in found.values() if len(given) > 1), None):
            raise UserError(f"{path} has the column {twice[0]!r} twice ({', '.join(map(repr, twice))}): rename or remove one")
        if missing := [wanted for wanted in _LIKE if not found[wanted]]:
            like = {wanted: [name for name in names if alias(name) in _LIKE[wanted]] for wanted in missing}
            mends = [f"call {' or '.join(map(repr, given))} {wanted}" for wanted, given in like.items() if given]
            mend = ", and ".join(mends) or "its first line must name the columns path and class"
            only = f"only {', '.join(map(repr, names))}" if names else "and nothing in its first line"
            raise UserError(f"{path} has no column {missing[0]!r}, {only}: {mend}")
        split = found["split"][0] if found["split"] else None
        others = tuple(name for name in names if alias(name) not in found)
        return cls(found["path"][0], found["class"][0], split, others, names[-1])


class SplitLike:
    """Watches the columns of a table without a split for one that is a split by its name, or by most of its few values."""

    def __init__(self, columns: Columns) -> None:
        self._others = columns.others if columns.split is None else ()
        self._values: dict[str, Counter[str]] = {name: Counter() for name in self._others}

    def look(self, row: Mapping[str | None, Any]) -> None:
        """Take note of a row's values."""
        for name in [*self._values]:
            value = row.get(name)
            text = "" if value is None else str(value).strip()
            if text:
                self._values[name][text] += 1
            if len(self._values[name]) > _MOST_VALUES:
                del self._values[name]

    def refuse(self, table: Path) -> None:
        """Refuse the table where a column looks like a split.

        Raises:
            UserError: it does.
        """
        for name in self._others:
            values = self._values.get(name, Counter[str]())
            if names_split(name) or 0 < values.total() <= 2 * sum(count for text, count in values.items() if split_word(text)):
                shown = f" with {listed(values)}" if values else ""
                raise UserError(
                    f"{table} has the column {name!r}{shown}, which looks like a split and would be ignored: call it split, "
                    f"with {', '.join(WORDS[:-1])} or nothing in it, or remove it"
                )
