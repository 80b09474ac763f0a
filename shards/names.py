"""Names that people take for one: how they are compared, and how two that look alike are shown."""

import re
import unicodedata
from collections.abc import Iterable

_VARIATION = range(0xFE00, 0xFE10)  # they choose a drawing of the character before, and are marks by category


def alias(name: str) -> str:
    """Reduce a name to what people read in it: `Bare_Land` and `bare land` are one class, and so are both forms of `Forêt`.

    Letters, their marks, digits and symbols remain, in lower case and Unicode's form NFKC; spaces, punctuation and invisible
    characters go, but between two digits they part two numbers.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    spaced = "".join(character if _is_read(character) else " " for character in text)
    return re.sub(r"(?<=\d) +(?=\d)", "_", spaced).replace(" ", "") or text.strip()


def _is_read(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMNS" and ord(character) not in _VARIATION


def same_names(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two different names that have the same `alias`, or a name that comes twice, if there are any."""
    met: dict[str, str] = {}
    for name in names:
        if alias(name) in met:
            return met[alias(name)], name
        met[alias(name)] = name
    return None


def matching(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is meant: the name itself, or else the only one that people read as it; None for none."""
    known, read = dict.fromkeys(known), alias(name)
    alike = [name] if name in known else [other for other in known if alias(other) == read]
    return alike[0] if len(alike) == 1 else None


def told_apart(first: str, second: str) -> str:
    """Return two names for a message, so that their difference is seen even where both are drawn alike."""
    alike = unicodedata.normalize("NFKC", first).strip() == unicodedata.normalize("NFKC", second).strip()
    show = ascii if alike else repr
    return f"{show(first)} and {show(second)}"
