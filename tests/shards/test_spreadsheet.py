"""CSV for spreadsheets: whatever a stranger calls a class or a file, no program computes it."""

import csv
import io

import pytest

from shards.spreadsheet import csv_text


def cells(*given: object) -> list[str]:
    [row] = csv.reader(io.StringIO(csv_text([given])))
    return row


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1", "-v", "\uff1d1", "+ ± 1"])
def test_what_would_be_computed_is_a_text(text: str) -> None:
    assert cells(text) == [f"'{text}"]


def test_numbers_and_plain_names_stay_as_they_are() -> None:
    plain = ["-3.5", "+1e-3", "-12.3 ± 0.4", "a=b", "Bare Land", "机场", "", 'he said "no", twice', "-inf"]
    assert cells(*plain, -1.5, 7) == [*plain, "-1.5", "7"]
