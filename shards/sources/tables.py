"""Images listed in a CSV or Parquet table with the columns path, class and, where there are splits, split."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shards.errors import UserError
from shards.files import printable
from shards.formats import what_it_is
from shards.sources.columns import Columns, SplitLike
from shards.sources.folders import file_record
from shards.sources.records import Found, Note, Refused

DELIMITERS = (",", ";", "\t", "|")
_BATCH_ROWS = 4096
_START = 1024  # bytes that tell what a file is which is no table

Row = Mapping[str | None, Any]


@dataclass(frozen=True)
class Table:
    """A table of images; paths are relative to its folder."""

    path: Path
    kind: str = "table"

    @property
    def root(self) -> Path:
        """The table's folder."""
        return self.path.parent

    @property
    def given(self) -> Path:
        """The table."""
        return self.path

    def records(self) -> Iterator[Found]:
        """Yield the images in the order of the rows.

        Raises:
            UserError: the table cannot be read, lacks a column, or has one that looks like a split under another name.
        """
        columns, rows = (_parquet if self.path.suffix.lower() == ".parquet" else _csv)(self.path)
        unnamed, longer = SplitLike(columns), 0
        for number, row in enumerate(rows, 1):
            unnamed.look(row)
            longer += None in row
            yield self._found(f"{self.path.name}: row {number}", row, columns)
        unnamed.refuse(self.path)
        if longer:
            yield Note(
                f"{longer:,} rows of {self.path.name} have more cells than columns; the last column is taken to go on in them"
            )

    def _found(self, name: str, row: Row, columns: Columns) -> Found:
        if None in row and columns.last in columns.taken:
            return Refused(name, "has more cells than there are columns: quote a cell that holds the separator")
        path, class_name = _text(row[columns.path]), _text(row[columns.class_name])
        if not path or not class_name:
            return Refused(name, "lacks its path or class")
        if "://" in path:
            return Refused(printable(path), "is an address: download the image, and list it by its path")
        if "\\" in path and not (self.root / path).exists():
            path = path.replace("\\", "/")
        place = PurePosixPath(path)
        if place.is_absolute() and not place.is_relative_to(self.root.absolute()):
            return Refused(printable(path), f"has an absolute path: give it relative to {self.root}")
        place = place.relative_to(self.root.absolute()) if place.is_absolute() else place
        return file_record(self.root, str(place), class_name, _text(row[columns.split]) if columns.split else "")


def _text(value: Any) -> str:
    """Return a cell as text; "" where it is missing, which some programs write as `nan`."""
    text = value.decode(errors="surrogateescape") if isinstance(value, bytes) else "" if value is None else str(value)
    return "" if text.strip().lower() == "nan" else text.strip()


def _csv(path: Path) -> tuple[Columns, Iterator[Row]]:
    try:
        with path.open("rb") as file:
            start = file.read(_START)
        encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with path.open(newline="", encoding=encoding) as opened:
            header = opened.readline()
        names = {delimiter: next(csv.reader([header], delimiter=delimiter), []) for delimiter in DELIMITERS}
        delimiter = next((each for each in DELIMITERS if Columns.there(names[each])), "")
        if start and not delimiter and (found := what_it_is(start)):
            raise UserError(f"{printable(path)} is no CSV table but {found[0]}: {found[1]}, and give a table")
        if "\0" in header:
            raise UnicodeError("it has zero bytes, as UTF-16 without its mark has")
        return Columns.of(path, names[delimiter or ","]), _csv_rows(path, encoding, delimiter)
    except (csv.Error, UnicodeError) as error:
        raise _no_csv(path, error) from None


def _csv_rows(path: Path, encoding: str, delimiter: str) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding=encoding) as file:
            yield from csv.DictReader(file, delimiter=delimiter, strict=True)
    except (csv.Error, UnicodeError) as error:
        raise _no_csv(path, error) from None


def _no_csv(path: Path, error: Exception) -> UserError:
    if isinstance(error, csv.Error):
        return UserError(f"{path} is not a CSV table ({error}): it is cut off or has a quote too many, so mend it or save it anew")
    return UserError(
        f"{path} is not a CSV table in UTF-8 ({error}): save it as one, with `iconv -t UTF-8 -f ITS_ENCODING` for example"
    )


def _parquet(path: Path) -> tuple[Columns, Iterator[Row]]:
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 (an extra)
    except ImportError:
        raise UserError(f"{path} needs pyarrow: install it with `pip install 'dsva[tables]'`, or give a CSV table") from None
    try:
        with pq.ParquetFile(path) as file:
            columns = Columns.of(path, file.schema_arrow.names)
            texts = [column.name for column in file.schema_arrow if "string" in str(column.type)]
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors are of these types
        if isinstance(error, UserError):
            raise
        raise _no_parquet(path, error) from None
    return columns, _parquet_rows(path, [*dict.fromkeys([*columns.taken, *texts])])


def _parquet_rows(path: Path, columns: list[str]) -> Iterator[Row]:
    import pyarrow.parquet as pq  # noqa: PLC0415 (an extra)

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
    except (OSError, ValueError, NotImplementedError) as error:
        raise _no_parquet(path, error) from None


def _no_parquet(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is not a Parquet table that can be read ({error})")
