"""What the classes of a WebDataset are called, learned from all of its samples."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from shards.errors import UserError
from shards.sources.sidecars import is_number

_SHOWN = 3


def sort_classes(names: Iterable[str]) -> list[str]:
    """Return class names in the order of their labels: by name, or by value where all are numbers."""
    names = list(names)
    return sorted(names, key=int) if all(map(is_number, names)) else sorted(names)


class ClassNames:
    """Learns which class texts occur, and which folders their samples lie in.

    Numbers that stand for folders, one folder a number, are called by their folders; any other class by its text.
    """

    def __init__(self) -> None:
        self._samples: dict[str, Counter[str]] = {}

    def add(self, class_text: str, folder: str, count: int = 1) -> None:
        """Take note of samples that say the same."""
        self._samples.setdefault(class_text, Counter())[folder] += count

    def folders(self) -> dict[str, str] | None:
        """Return the folder of every number, in the order of the labels, where each sample's number stands for its first folder.

        So it is in the sets that this package writes: the numbers are 0, 1, 2 ..., and no sample contradicts.
        """
        named = self._one_to_one() or {}
        firsts = all(folder.split("/")[0] == named.get(text) for text, of in self._samples.items() for folder in of)
        return named if firsts and self._dense() else None

    def names(self, *, gaps: bool = True) -> dict[str, str]:
        """Return the name of every class text, in the order of the labels.

        With `gaps`, numbers are called by their folders even if some number is left out, and so none need be its class's label.
        """
        named = self._one_to_one() if gaps or self._dense() else None
        return named or {text: text for text in sort_classes(self._samples)}

    def _dense(self) -> bool:
        return sort_classes(self._samples) == [str(label) for label in range(len(self._samples))]

    def notes(self, where: str) -> Iterator[str]:
        """Yield sentences on numbers that are not called by their folders, and on samples in the folder of another class.

        Raises:
            UserError: the latter are most of them.
        """
        names = self.names()
        if names != self.names(gaps=False):
            text, name = next(iter(names.items()))
            yield f"classes keep their numbers for names, since some numbers are left out; `dsva pack` calls {text} {name!r}"
        wrong = _contradicting(self._samples, names)
        if not wrong:
            return
        shown = ", ".join(f"{names[text]!r} in {folder}/ ({count:,})" for (text, folder), count in wrong.most_common(_SHOWN))
        told = f"the class of {wrong.total():,} images in {where} is not that of their folder: {shown}"
        if 2 * wrong.total() > sum(of.total() for of in self._samples.values()):
            raise UserError(f"{told}: correct their .cls or .json files, or move them")
        yield f"{told}; their .cls and .json files count"

    def _one_to_one(self) -> dict[str, str] | None:
        """Return the folder that most samples of every number lie in, where it is another for each; the outermost such level."""
        if not self._samples or not all(map(is_number, self._samples)):
            return None
        deepest = max(folder.count("/") + 1 if folder else 0 for of in self._samples.values() for folder in of)
        for level in range(deepest):
            named = {text: _most(self._samples[text], level) for text in sort_classes(self._samples)}
            if all(named.values()) and len(set(named.values())) == len(named):
                return {text: folder for text, folder in named.items() if folder}
        return None


def _most(folders: Counter[str], level: int) -> str | None:
    """Return the name on a level of the folders that more than half of the samples lie in."""
    on_level: Counter[str] = Counter()
    for folder, count in folders.items():
        on_level.update({"".join(folder.split("/")[level : level + 1]): count})
    [(name, count)] = on_level.most_common(1)
    return name if 2 * count > folders.total() else None


def _contradicting(samples: Mapping[str, Counter[str]], names: Mapping[str, str]) -> Counter[tuple[str, str]]:
    """Count the samples that lie in the folder of a class and say that they are of another."""
    classes = set(names.values())
    return Counter(
        {
            (text, folder): count
            for text, of in samples.items()
            for folder, count in of.items()
            if not classes.isdisjoint(folder.split("/")) and names[text] not in folder.split("/")
        }
    )
