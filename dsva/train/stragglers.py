"""Which rank was the slowest in which part of a step: in the metrics, and as a table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from dsva.files import read_lines
from dsva.tables import Table
from dsva.train.phases import PHASES

NOTE = (
    "Of the steps that were logged; milliseconds. Backward ends with a rank's own last gradient, exchange is what it then waits "
    "for the others' (under ZeRO most of that lies in backward and update). The rank that the others wait for waits least."
)


def slowest(gathered: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return for each phase the seconds of the slowest rank; with several ranks also which it was, and how many times the mean."""
    values: dict[str, float] = {}
    for phase in PHASES:
        seconds = [spent[phase] for spent in gathered]
        worst = max(range(len(seconds)), key=seconds.__getitem__)
        values[f"seconds/{phase}"] = seconds[worst]
        if len(seconds) > 1:
            values[f"slowest/{phase}"] = worst
            values[f"slowest_factor/{phase}"] = seconds[worst] / max(fmean(seconds), 1e-9)
    return values


def slowest_table(metrics: Path) -> Table | None:
    """Return the table of all steps of which metrics.jsonl tells; None where there are none."""
    entries = read_lines(metrics)
    entries = [entry for entry in entries if f"seconds/{PHASES[0]}" in entry]
    if not entries:
        return None
    rows = []
    for phase in PHASES:
        row = [phase, f"{1e3 * fmean(entry[f'seconds/{phase}'] for entry in entries):.1f}"]
        named = [entry for entry in entries if f"slowest/{phase}" in entry]
        if named:
            rank, times = Counter(entry[f"slowest/{phase}"] for entry in named).most_common(1)[0]
            factor = fmean(entry[f"slowest_factor/{phase}"] for entry in named)
            row += [f"{rank} ({100 * times / len(named):.0f} %)", f"{factor:.2f}"]
        rows.append([*row, *["-"] * (4 - len(row))])
    columns = ("part of a step", "slowest rank, ms", "mostly rank", "times the mean")
    return Table("Where the time of a step goes", columns, rows, NOTE)
