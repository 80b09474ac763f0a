"""Rows of classes that the attribute table has not, from their names and descriptions: no image, no training."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dsva.attributes.rows import Floats, finished, predicted
from dsva.inference.candidates import Candidates
from dsva.inference.classifier import device
from dsva.model.prompts import TEMPLATES, TextTower, words
from dsva.protocol.attribute_table import AttributeTable
from shards.errors import UserError
from shards.names import alias, matching

NEGATIONS = ("no", "not", "without")


def described(given: Sequence[str], table: AttributeTable, seen: Sequence[str], clip: str | None) -> Candidates:
    """Make rows, on the table's own scale, of classes given as `Name` or `Name: description`.

    With a CLIP model (the one that the table was made with, or `clip`) a row comes from the description's embedding: as the
    table's own rows where those come from text, and else as the seen classes' rows follow from their names. Without one it comes
    from the table's attributes that the description names, see `by_words`.

    Args:
        given: the classes.
        table: of the run; the part that the run knows.
        seen: classes that the run was trained on.
        clip: hub id or folder of a CLIP model.

    Raises:
        UserError: a class without a name, given twice or of the table, a model that cannot be had or is not the table's, or a
            description that names no attribute.
    """
    texts: dict[str, str] = {}
    known = {alias(name) for name in table.classes}
    for each in given:
        name, _, text = (part.strip() for part in each.partition(":"))
        if not name:
            raise UserError(f"--new {each!r} has no name: give `Name` or `Name: description`")
        if alias(name) in known:
            raise UserError(f"--new {name!r} is in the run's attribute table, or given twice: give --class for those of the table")
        known.add(alias(name))
        texts[name] = text or words(name)
    model = clip or (table.provenance.clip if table.provenance else None)
    if model is None:
        rows, made = by_words(texts, table, seen)
        strengths = rows.astype(np.float32)
    else:
        strengths = by_clip(texts, table, seen, TextTower.load(model, device()))
        made = {name: f"by {model} from {text!r}" for name, text in texts.items()}
    return Candidates(tuple(texts), strengths, made)


def by_clip(texts: Mapping[str, str], table: AttributeTable, seen: Sequence[str], tower: TextTower) -> NDArray[np.float32]:
    """Return a row for each text, [len(texts), K], from its embedding.

    Raises:
        UserError: the table's rows come from the text of another model.
    """
    provenance = table.provenance
    templates = provenance.class_templates if provenance else TEMPLATES
    told = provenance.described if provenance else {}
    of_seen = [told.get(matching(name, told) or "") or words(name) for name in seen]

    def embedded(phrases: Sequence[str]) -> Floats:
        return np.asarray(tower.embed(phrases, templates).cpu().double().numpy()).reshape(len(phrases), -1)

    new = embedded(list(texts.values()))
    if provenance is None or provenance.mode not in ("text", "sentences"):
        rows = predicted(embedded(of_seen), table.rows(seen).astype(float), new)
        return finished(rows, "l2" if provenance and provenance.rows == "l2" else "raw", slice(0))
    if tower.sha256() != provenance.clip_sha256:
        raise UserError(f"the rows of {table.path} come from the text of another model, {provenance.clip}: give that with --clip")
    base = [told[name] for name in provenance.statistics]
    raw = np.concatenate([embedded(base), new]) if base else new
    if provenance.mode == "text":
        raw = raw @ tower.embed(table.names, provenance.attribute_templates).cpu().double().numpy().T
    return finished(raw, provenance.rows, slice(len(base)))[len(base) :]


def by_words(texts: Mapping[str, str], table: AttributeTable, seen: Sequence[str]) -> tuple[Floats, dict[str, str]]:
    """Return a row for each text, [len(texts), K], from the attributes that it names; and by name, which those are.

    A named attribute is as strong as in the seen classes that show it (the mean of those above the mean of all), one that
    the text denies (`no trees`) as weak as in the least of them; the others follow from those as they do in the seen classes.

    Raises:
        UserError: a text that names no attribute.
    """
    rows = table.rows(seen).astype(float)
    shown = rows > rows.mean(0)
    strong = np.where(shown.any(0), (rows * shown).sum(0) / np.maximum(shown.sum(0), 1), rows.max(0))
    found, made = [], {}
    for name, text in texts.items():
        named = mentioned(text, table.names)
        if not any(named.values()):
            raise UserError(
                f"--new {name!r}: {text!r} names none of the run's attributes, such as {', '.join(table.names[:8])}: describe what "
                "is seen by these (`dsva attributes show` lists all), or give --clip MODEL"
            )
        places = sorted(named)
        levels = np.array([strong[place] if named[place] else rows[:, place].min() for place in places])
        row = predicted(rows[:, places], rows, levels[None])[0]
        row[places] = levels
        found.append(row)
        made[name] = f"by its words: {', '.join(('' if named[place] else 'no ') + table.names[place] for place in places)}"
    return np.stack(found), made


def mentioned(text: str, names: Sequence[str]) -> dict[int, bool]:
    """Return the places of the names that a text mentions, in singular or plural; False for those after `no` or `without`."""
    spoken = [_forms(word) for word in re.findall(r"\w+", text.lower())]
    found: dict[int, bool] = {}
    for place, name in enumerate(names):
        wanted = [_forms(word) for word in re.findall(r"\w+", words(name))]
        for start in range(len(spoken) - len(wanted) + 1):
            if wanted and all(a & b for a, b in zip(wanted, spoken[start : start + len(wanted)], strict=True)):
                found[place] = not (start and spoken[start - 1] & set(NEGATIONS))
    return found


def _forms(word: str) -> set[str]:
    """Return the word and what it may be the plural of."""
    plural = {
        word[: -len(end)] for end in ("s", "es") if word.endswith(end) and len(word) > len(end) + 2 and not word.endswith("ss")
    }
    return {word, *plural}
