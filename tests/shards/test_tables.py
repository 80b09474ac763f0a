"""Tables of images as people have them: read as they are meant, or refused with the mend."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.errors import UserError
from shards.merge import PackReport
from shards.pack import pack
from shards.sources import open_source
from shards.sources.records import Record, Refused

H = ("path", "class")


@pytest.fixture
def rows(images: Path) -> list[tuple[str, str]]:
    """Path and class of each image, relative to the folder of the class folders."""
    return [(str(path.relative_to(images)), path.parent.name) for path in sorted(images.rglob("*.jpg"))]


def write(images: Path, lines: Sequence[Sequence[object]], separator: str = ",", encoding: str = "utf-8") -> Path:
    (images / "t.csv").write_bytes("\n".join(separator.join(map(str, line)) for line in lines).encode(encoding))
    return images / "t.csv"


def read(table: Path) -> list[tuple[str, str]]:
    found = list(open_source(table).records())
    assert all(isinstance(item, Record) for item in found), found
    return [(item.path, item.class_name) for item in found if isinstance(item, Record)]


def packed(table: Path) -> PackReport:
    return pack(open_source(table), table.parent.parent / "SET")


def test_separators_encodings_and_names_of_columns(images: Path, rows: list[tuple[str, str]]) -> None:
    for separator in ",;\t|":
        assert read(write(images, [H, *rows], separator)) == rows
    for encoding in ("utf-8-sig", "utf-16"):
        assert read(write(images, [H, *rows], encoding=encoding)) == rows
    assert read(write(images, [("Path ", "CLASS"), *rows])) == rows
    assert read(write(images, [("path", " class"), *((path, f" {name} ") for path, name in rows)])) == rows
    assert read(write(images, [("id", *H, "note"), *((1, *row, "all fine") for row in rows)])) == rows


def test_paths_as_other_programs_write_them(images: Path, rows: list[tuple[str, str]]) -> None:
    for prefix, slash in (("./", "/"), (f"{images}/", "/"), ("", "\\"), ("", "//"), (".\\", "\\")):
        assert read(write(images, [H, *((prefix + path.replace("/", slash), name) for path, name in rows)])) == rows


def test_the_split_column_is_taken_whatever_its_case(images: Path, rows: list[tuple[str, str]]) -> None:
    table = write(images, [(*H, " Split"), *((*row, ("Training", "VALID", " test ")[i % 3]) for i, row in enumerate(rows))])
    assert packed(table).shards.splits == ("", "test", "train", "val")


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        (
            "split",
            ("train", "holdout"),
            r"t\.csv has splits that mean nothing here: 'holdout' \(9 images\): write train, val, test",
        ),
        ("split", ("0", "1"), r"mean nothing here: '0' \(9 images\), '1' \(9 images\)"),
        ("split", ("val1", "val1"), r"'val1' \(18 images\)"),
        (
            "subset",
            ("a", "b"),
            r"t\.csv has the column 'subset' with a, b, which looks like a split and would be ignored: call it split",
        ),
        ("Train/Test split", ("train", "test"), "the column 'Train/Test split' with train, test, which looks like a split"),
        ("is_test", (0, 1), "the column 'is_test'( with 0, 1)?, which looks like a split"),  # only texts of Parquet are read
        ("isTraining", ("True", "False"), "the column 'isTraining' with True, False, which looks like a split"),
        ("K-Fold", ("1", "2"), "the column 'K-Fold' with 1, 2, which looks like a split"),
        ("is_unseen", ("n", "y"), "the column 'is_unseen' with n, y, which looks like a split"),
        ("purpose", ("Training", "Holdout"), "the column 'purpose' with Training, Holdout, which looks like a split"),
        ("purpose", ("Train", ""), "the column 'purpose' with Train, which looks like a split"),
        ("Class", ("a", "b"), r"has the column 'class' twice \('class', 'Class'\)"),
    ],
)
def test_what_may_be_a_split_is_never_ignored(
    images: Path, rows: list[tuple[str, str]], column: str, values: tuple[object, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        packed(write(images, [(*H, column), *((*row, values[i % 2]) for i, row in enumerate(rows))]))
    if column != "Class":
        table = pa.table(
            {"path": [r[0] for r in rows], "class": [r[1] for r in rows], column: [values[i % 2] for i in range(len(rows))]}
        )
        pq.write_table(table, images / "t.parquet")
        with pytest.raises(UserError, match=sentence.replace("csv", "parquet")):
            packed(images / "t.parquet")


def test_columns_that_only_hold_a_word_of_splits_stay(images: Path, rows: list[tuple[str, str]]) -> None:
    vehicles = ("train", "ship", "plane")
    for column, values in (
        ("vehicle", vehicles),
        ("dataset", ("AID", "NWPU", "")),
        ("land_usage", ("a", "b", "c")),
        ("value", "123"),
    ):
        table = write(images, [(*H, column), *((*row, values[i % 3]) for i, row in enumerate(rows))])
        assert len(read(table)) == 18


def test_columns_that_are_called_otherwise_are_named(images: Path, rows: list[tuple[str, str]]) -> None:
    with pytest.raises(UserError, match="call 'Filename' path, and call 'Label' or 'ClassName' class"):
        read(write(images, [("", "Filename", "Label", "ClassName"), *((1, path, 0, name) for path, name in rows)]))
    with pytest.raises(UserError, match="only '# list': its first line must name the columns path and class"):
        read(write(images, [("# list",), H, *rows]))
    with pytest.raises(UserError, match=r"not a CSV table in UTF-8 .* with `iconv -t UTF-8"):
        read(write(images, [H, (rows[0][0], "机场")], encoding="gbk"))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "has no column 'path', and nothing in its first line"),
        ("path,class\na.jpg,A\n".encode("utf-16-be"), "zero bytes, as UTF-16 without its mark has.*iconv"),
        (b"<!DOCTYPE html>", "is no CSV table but an HTML page, as failed downloads leave it: fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no CSV table but a Git LFS pointer .*: run `git lfs pull`"),
        (b"PK\3\4" + bytes(26) + b"xl/workbook.xml", "no CSV table but an Office document, such as Excel's: export"),
        (b'path,class\n"a.jpg,A\n', "is cut off or has a quote too many"),
        (b"path,class\nPort/PORT_2.JPG,Port\n", "it is not in .*DATA: correct its path, its case too"),
    ],
)
def test_files_that_are_no_table_of_images_are_called_what_they_are(images: Path, data: bytes, sentence: str) -> None:
    (images / "t.csv").write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        packed(images / "t.csv")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("https://x.org/a.jpg,A", "is an address: download the image"),
        ("Port/a,A", "is not called as an image"),
        ("Port/a.webp,A", "is not called as an image"),
        ("Port/a.jpg,nan", "lacks its path or class"),
        ("Port/a,b.jpg,A", "more cells than there are columns"),
    ],
)
def test_rows_that_mean_no_image_are_refused(images: Path, row: str, reason: str) -> None:
    (images / "t.csv").write_text(f"path,class\n{row}\n")
    refused = next(open_source(images / "t.csv").records())
    assert isinstance(refused, Refused)
    assert reason in refused.reason


def test_missing_cells_of_parquet_name_no_class(images: Path, rows: list[tuple[str, str]]) -> None:
    table = pa.table({"path": [rows[0][0], rows[1][0]], "class": [float("nan"), 1.0], "split": pa.nulls(2)})
    pq.write_table(table, images / "t.parquet")
    refused, record = open_source(images / "t.parquet").records()
    assert isinstance(refused, Refused)
    assert isinstance(record, Record)
    assert (record.class_name, record.split) == ("1.0", "")


def test_cells_beyond_a_last_column_that_is_not_taken_are_told(images: Path, rows: list[tuple[str, str]]) -> None:
    report = packed(write(images, [(*H, "note"), *((*row, "x", "y") for row in rows)]))
    assert report.notes == ("18 rows of t.csv have more cells than columns; the last column is taken to go on in them",)


def test_an_image_listed_again_is_one_and_one_with_two_answers_is_refused(images: Path, rows: list[tuple[str, str]]) -> None:
    again = packed(write(images, [H, *rows, *rows[:2]]))
    assert (len(again.shards), again.ignored) == (len(rows), {"listed again": 2})
    with pytest.raises(
        UserError,
        match=r"t\.csv lists 1 images with more than one class or split, .*\(classes Airport,Port;",
    ):
        pack(open_source(write(images, [H, *rows, (rows[0][0], "Port")])), images.parent / "OTHER")
    with pytest.raises(UserError, match=r"lists 18 images with more than one class or split, .* splits train,test"):
        pack(
            open_source(write(images, [(*H, "split"), *((*r, s) for r in rows for s in ("train", "test"))])),
            images.parent / "OTHER",
        )


def test_labels_that_contradict_the_folders(images: Path, rows: list[tuple[str, str]]) -> None:
    wrong = {"Airport": "Beach", "Beach": "Port", "Port": "Airport"}
    report = packed(write(images, [H, (rows[0][0], "Port"), *rows[1:]]))
    assert report.notes == (
        "1 of 18 images lie in folders called as another class than theirs: 1 in Airport/ as 'Port'; the labels count",
    )
    with pytest.raises(
        UserError, match=r"t\.csv: 18 of 18 images lie in folders called as another class than theirs: .*6 in Beach/ as 'PORT'"
    ):
        pack(open_source(write(images, [H, *((path, wrong[name].upper()) for path, name in rows)])), images.parent / "OTHER")


def test_folders_called_as_another_split_are_told(images: Path, rows: list[tuple[str, str]]) -> None:
    (images / "test").mkdir()
    (images / "Port").rename(images / "test" / "Port")
    listed = [(f"test/{path}" if name == "Port" else path, name) for path, name in rows]
    assert packed(write(images, [H, *listed])).notes == (
        "6 of 18 images lie in folders called as another split than theirs: 6 in test/Port/ as 'no split'; "
        "what is given as their split counts",
    )


def test_names_that_are_one_to_people_are_refused(images: Path, rows: list[tuple[str, str]]) -> None:
    table = write(images, [H, *((path, ("For\xeat", "Fore\u0302t", "Port")[i % 3]) for i, (path, _) in enumerate(rows))])
    with pytest.raises(
        UserError, match=r"t.csv has the classes 'Fore\\u0302t' and 'For\\xeat' \(6 and 6 images\), which people read as one"
    ):
        packed(table)
