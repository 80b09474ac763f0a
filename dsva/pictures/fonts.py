"""Which installed fonts have the signs of a text that matplotlib's own font has not."""

import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

from matplotlib import font_manager
from matplotlib.font_manager import FontEntry
from matplotlib.ft2font import FT2Font

DEFAULT = "DejaVu Sans"  # comes with matplotlib
BOXES = "Last Resort"  # begins the name of the font that has a box for every sign there is
UNDRAWN = ("Cf", "Cc")  # categories of Unicode: they steer how other signs are drawn
CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")


def lacking(text: str) -> frozenset[str]:
    """Return the signs of a text that the default font has not."""
    return frozenset(
        sign for sign in text if ord(sign) not in _defaults() and unicodedata.category(sign) not in UNDRAWN and not sign.isspace()
    )


@cache
def families(signs: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of fonts that have the signs, as few as need be, and the signs that no font has."""
    having = [(entry, found) for entry in _installed() if (found := _found(entry, signs))]
    chosen, left = [], signs
    while having:
        entry, found = max(having, key=lambda each: (len(each[1] & left), _plain(each[0]), each[0].name))
        if not found & left:
            break
        chosen.append(entry.name)
        left -= found
    return tuple(chosen), left


def hint(signs: Iterable[str]) -> str:
    """Say which signs no font has, and what to install."""
    missing = sorted(signs)
    packages = ", ".join(sorted({_package(sign) for sign in missing}))
    shown = "".join(missing[:10]) + ("…" if len(missing) > 10 else "")
    return (
        f"pictures show boxes for {len(missing)} signs of names ({shown}), which no installed font has: install one that has, "
        f"such as {packages} of Debian and Ubuntu, and draw them again"
    )


@cache
def _defaults() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(DEFAULT)).get_charmap())


@cache
def _installed() -> tuple[FontEntry, ...]:
    """Return the fonts that matplotlib can draw with, one a file; those too that were installed since it last looked."""
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            with suppress(Exception):  # what is no font that it could draw with: it may fail in any way
                manager.addfont(path)
    first = {entry.fname: entry for entry in reversed(manager.ttflist)}
    return tuple(entry for _, entry in sorted(first.items()) if not entry.name.startswith((BOXES, DEFAULT)))


def _found(entry: FontEntry, signs: frozenset[str]) -> frozenset[str]:
    with suppress(Exception):  # a font that is gone by now, or damaged
        font = FT2Font(entry.fname)
        return frozenset(sign for sign in signs if font.get_char_index(ord(sign)))
    return frozenset()


def _plain(entry: FontEntry) -> bool:
    return entry.style == "normal" and entry.weight in (400, "normal", "regular")


def _package(sign: str) -> str:
    if unicodedata.name(sign, "").startswith(CJK):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(sign) == "So" else "fonts-noto-core"
