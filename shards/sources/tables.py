"""Images listed in a CSV or Parquet table with the columns path, class and, where there are splits, split."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.files import printable
from shards.sources.folders import file_record
from shards.sources.records import Found, Refused

NEEDED = ("path", "class")
_BATCH_ROWS = 4096


@dataclass(frozen=True)
class Table:
    """A table of images; paths are relative to its folder."""

    path: Path
    kind: str = "table"

    @property
    def root(self) -> Path:
        """The table's folder."""
        return self.path.parent

    def records(self) -> Iterator[Found]:
        """Yield the images in the order of the rows.

        Raises:
            UserError: the table cannot be read, or lacks a column.
        """
        rows = _parquet_rows(self.path) if self.path.suffix.lower() == ".parquet" else _csv_rows(self.path)
        for number, row in enumerate(rows, 1):
            path, class_name, split = (row.get(column) for column in (*NEEDED, "split"))
            if path is None or class_name is None or path == "":
                yield Refused(f"{self.path.name}: row {number}", "lacks its path or class")
            elif str(path).startswith("/"):
                yield Refused(printable(str(path)), f"has an absolute path: give it relative to {self.root}")
            else:
                yield file_record(self.root, str(path), str(class_name), "" if split is None else str(split))


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, reader.fieldnames or ())
            yield from reader
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV table in UTF-8 ({error}): save it as one") from None


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415 (an extra)
    except ImportError:
        raise UserError(f"{path} needs pyarrow: install it with `pip install 'dsva[tables]'`, or give a CSV table") from None
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names)
            columns = [name for name in (*NEEDED, "split") if name in file.schema_arrow.names]
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
    except (OSError, ValueError, NotImplementedError) as error:  # pyarrow's own errors are of these types
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a Parquet table that can be read ({error})") from None


def _check_columns(path: Path, names: Any) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise UserError(f"{path} has no column {missing[0]!r}, only {', '.join(map(repr, names))}: it needs path and class")
