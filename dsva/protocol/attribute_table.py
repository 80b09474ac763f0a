"""The attribute table: how strongly each attribute is visible in each class."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, field_validator, model_validator

from dsva.files import write_atomically
from dsva.json_files import CORRECT, Name, Names, Schema, checked, different, read_bytes, read_json, unknown
from dsva.protocol.table_provenance import TableProvenance
from shards.errors import UserError
from shards.files import without_control
from shards.names import matching

MAX_CELLS = 10_000_000
MAX_MEANING = 10_000  # characters
PARTITIONS = 3


def _brief(meaning: str) -> str:
    if len(meaning) > MAX_MEANING:
        raise ValueError(f"more than {MAX_MEANING:,} characters")
    return meaning


class _Rows(Schema):
    """Rows as a file has them; numpy checks the matrix, which pydantic would make millions of objects of."""

    classes: Names
    matrix: Any
    provenance: TableProvenance | None = None

    @field_validator("provenance", mode="before")
    @classmethod
    def _recorded(cls, value: object) -> object:
        if value is None:
            raise ValueError("null records nothing")
        return value


class _Content(_Rows):
    """A table as a file has it, see `load`."""

    groups: Annotated[dict[Name, Names], Field(min_length=1)]
    meaning: Annotated[str, AfterValidator(_brief)] = ""
    validation: list[_Rows] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        different(self.names)
        if len(self.validation) not in (0, PARTITIONS):
            raise ValueError(f"validation has {len(self.validation)} parts instead of {PARTITIONS}")
        return self

    @property
    def names(self) -> list[str]:
        """All attributes, group after group."""
        return [*chain.from_iterable(self.groups.values())]


@dataclass(frozen=True, eq=False)
class AttributeTable:
    """Classes described by attributes.

    Attributes:
        path: the file it was read from.
        classes: class names, [C].
        names: attribute names, [K].
        groups: places of each group's attributes in `names`; every attribute is in exactly one group.
        matrix: strength of attribute k in class c, [C, K] float32.
        meaning: where the numbers come from, as the file says; "" where it does not.
        sha256: of the file, in hexadecimal; "" for a table that is not in a file yet.
        provenance: how the rows were made; None where nobody recorded it.
        validation: the tables of the runs with validation partition 0, 1 and 2, where rows or their scale come from the seen
            classes, so that a validation run needs others; else empty. They describe the seen classes only.
    """

    path: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]]
    matrix: NDArray[np.float32]
    meaning: str
    sha256: str
    provenance: TableProvenance | None = None
    validation: tuple["AttributeTable", ...] = ()

    def part(self, partition: int | None) -> "AttributeTable":
        """Return what a run with that `validation.partition` may know of the classes; the file, and its sha256, stay the same."""
        return self if partition is None or not self.validation else self.validation[partition]

    def rows(self, classes: Sequence[str]) -> NDArray[np.float32]:
        """Return the rows of `classes` in the order given, [len(classes), K]; see `own_name` for their spelling.

        Raises:
            UserError: a class has no row (with the nearest class that has one).
        """
        places = {name: place for place, name in enumerate(self.classes)}
        return self.matrix[[places[self.own_name(name)] for name in classes]]

    def own_name(self, name: str) -> str:
        """Return what the table calls a class: the same, or the only one of its names that people read as this one.

        Raises:
            UserError: it describes no such class.
        """
        own = matching(name, self.classes)
        if own is None:
            raise UserError(f"{self.path} describes no class {name!r}: {unknown(name, self.classes)}")
        return own

    def write(self, path: Path) -> None:
        """Write the table as JSON, a row a line, in the fewest digits that give the same float32 again."""
        groups = {name: [self.names[place] for place in places] for name, places in self.groups.items()}
        parts = ", ".join(table._json() for table in self.validation)
        validation = f',\n"validation": [{parts}]' if parts else ""
        head = json.dumps({"groups": groups, "meaning": self.meaning}, indent=1)[:-2]
        write_atomically(path, f"{head},\n{self._json()[2:-2]}{validation}\n}}\n")

    def _json(self) -> str:
        made = {"provenance": self.provenance.model_dump(mode="json")} if self.provenance else {}
        rows = ",\n ".join("[" + ", ".join(str(value) for value in row) + "]" for row in self.matrix)
        return json.dumps({"classes": list(self.classes), **made}, indent=1)[:-2] + f',\n "matrix": [\n {rows}\n ]\n}}'


def load(path: Path) -> AttributeTable:
    """Read a table by the file's suffix.

    `.json`: `classes`, `groups` (group name -> attribute names), `matrix` (a row a class, the columns in the
    order of the groups) and, if given, `meaning`, `provenance` and `validation` (three more of classes, matrix and provenance,
    see `AttributeTable`). `.csv`: a header of attribute names after one cell of any
    text, then a row a class that starts with its name. `.mat`: `att` (a row an attribute, a column a class)
    and `allclasses_names`, as the authors of DSVA and Xian et al. publish them. CSV and .mat name no groups:
    all attributes are then one group, "all".

    Raises:
        UserError: unreadable, another suffix, a matrix that does not fit its names, a name given twice, or a
            number that is not finite.
    """
    readers = {".json": _from_json, ".csv": _from_csv, ".mat": _from_mat}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path} is no attribute table: its suffix must be one of {', '.join(readers)}")
    return reader(path)


def _from_json(path: Path) -> AttributeTable:
    value, sha256 = read_json(path)
    built = "provenance" in value or "validation" in value
    return _table(path, sha256, value, f"{CORRECT}, or build the table again" if built else CORRECT)


def _from_csv(path: Path) -> AttributeTable:
    content, sha256 = read_bytes(path)
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True) if row]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV table in UTF-8 ({error}): correct the file") from None
    groups = {"all": header[1:]}
    return _table(path, sha256, {"classes": [row[0] for row in rows], "groups": groups, "matrix": [row[1:] for row in rows]})


def _from_mat(path: Path) -> AttributeTable:
    _, sha256 = read_bytes(path)
    try:
        from scipy.io import loadmat, whosmat  # noqa: PLC0415
    except ImportError:
        raise UserError(f"{path} needs scipy to be read: install it with `pip install 'dsva[tables]'`") from None
    try:
        cells = {name: int(np.prod(shape)) for name, shape, _ in whosmat(path)}
        if max(cells["att"], cells["allclasses_names"]) > MAX_CELLS:
            raise UserError(f"{path} holds more than {MAX_CELLS} numbers, which no attribute table does: give another file")
        value = loadmat(path, variable_names=["att", "allclasses_names"])
        classes = [str(np.squeeze(cell).item()) for cell in value["allclasses_names"].ravel()]
        matrix = value["att"].T
    except KeyError as error:
        raise UserError(f"{path} has no variable {error}: an attribute table needs att and allclasses_names") from None
    except UserError:
        raise
    except Exception as error:  # scipy raises whatever a damaged file makes it trip over
        raise UserError(f"{path} cannot be read as a MATLAB file ({error}): save it with `save -v7`") from None
    names = [f"attribute {place + 1}" for place in range(matrix.shape[-1])]
    return _table(path, sha256, {"classes": classes, "groups": {"all": names}, "matrix": matrix})


def _table(path: Path, sha256: str, value: dict[str, Any], mend: str = CORRECT) -> AttributeTable:
    content = checked(_Content, value, path, mend)
    names = tuple(content.names)
    ends = np.cumsum([len(members) for members in content.groups.values()]).tolist()
    groups = {name: tuple(range(end - len(content.groups[name]), end)) for name, end in zip(content.groups, ends, strict=True)}

    def table(rows: _Rows) -> AttributeTable:
        matrix, meaning = _numbers(path, rows, names), without_control(content.meaning)
        return AttributeTable(path, tuple(rows.classes), names, groups, matrix, meaning, sha256, rows.provenance)

    return replace(table(content), validation=tuple(map(table, content.validation)))


def _numbers(path: Path, rows: _Rows, attributes: Sequence[str]) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # too large is not finite, see below
            numbers = np.array(rows.matrix, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: the matrix is not a table of numbers with rows of one length ({error}): correct it") from None
    if numbers.shape != (len(rows.classes), len(attributes)):
        raise UserError(
            f"{path}: the matrix has shape {list(numbers.shape)} but there are {len(rows.classes)} classes "
            f"and {len(attributes)} attributes: give a row a class and a column an attribute"
        )
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0]
        raise UserError(f"{path}: class {rows.classes[row]!r}, attribute {attributes[column]!r} is not a finite number: correct it")
    return numbers
