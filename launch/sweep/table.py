"""The table of a sweep: mean and standard deviation over seeds beside the published figures."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from dsva.evaluation.results import Results
from dsva.evaluation.tables import protocols
from dsva.run_directory import RESULTS
from dsva.tables import Table
from launch.sweep.plan import Cell, Manifest
from launch.sweep.state import folder_of
from shards.spreadsheet import csv_text

COLUMNS = ("ZSL", "S", "U", "H", "AUSUC")
ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in "&%$#_{}"})
ESCAPED |= str.maketrans({"±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"})
ESCAPED |= str.maketrans({"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"})
ESCAPED |= str.maketrans({sign: f"{{{sign}}}" for sign in "[]*"})  # which mean something to a command before them


def sweep_table(folder: Path, manifest: Manifest) -> Table:
    """Return one row for each split, protocol and varied value, and means over the splits; missing cells are named."""
    found = {cell.name: _results(folder, cell) for cell in manifest.cells}
    figures = {name: _figures(results, manifest.sweep.head) if results else None for name, results in found.items()}
    rows: list[list[str]] = []
    for row in dict.fromkeys(cell.row for cell in manifest.cells):
        mine = [cell for cell in manifest.cells if cell.row == row]
        rows.append([" ".join(filter(None, row)), *_row([figures[cell.name] for cell in mine])])
        if known := manifest.sweep.published.get(row[0], {}).get(row[1]):
            rows.append([f"{row[0]} {row[1]} published", "", *(f"{known[name]:.1f}" if name in known else "" for name in COLUMNS)])
    for group in dict.fromkeys(cell.row[1:] for cell in manifest.cells):
        mine = [cell for cell in manifest.cells if cell.row[1:] == group]
        if len({cell.split for cell in mine}) > 1:
            rows.append([" ".join(("all splits", *filter(None, group))), *_row([figures[cell.name] for cell in mine])])
    missing = [name for name, results in found.items() if results is None]
    note = f"Percent, per-class mean top-1, {manifest.sweep.head} head; mean ± sample standard deviation over runs."
    note += protocols(results for results in found.values() if results)
    if missing:
        note += f" Missing {len(missing)} of {len(figures)} runs: {', '.join(missing)}."
    return Table("Sweep", ("", "runs", *COLUMNS), rows, note)


def as_csv(table: Table) -> str:
    """Return the rows as CSV, without note."""
    return csv_text([table.columns, *table.rows])


def as_latex(table: Table) -> str:
    """Return the table as a LaTeX tabular with the rules of the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(" ".join(cell.split()).translate(ESCAPED) for cell in cells) + r" \\" + "\n"

    body = line(table.columns) + "\\midrule\n" + "".join(map(line, table.rows))
    columns = "l" + "r" * (len(table.columns) - 1)
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\\bottomrule\n\\end{{tabular}}\n% {' '.join(table.note.split())}\n"


def _results(folder: Path, cell: Cell) -> Results | None:
    job = folder_of(folder, cell)
    return Results.read(job.run / RESULTS) if job.done() else None


def _figures(results: Results, head: str) -> tuple[float | None, ...]:
    measured = results.heads[head]
    gzsl = measured.gzsl
    if gzsl is None:
        return measured.zsl, None, None, None, None
    return measured.zsl, gzsl.seen, gzsl.unseen, gzsl.harmonic, gzsl.ausuc


def _row(figures: Sequence[tuple[float | None, ...] | None]) -> list[str]:
    there = [found for found in figures if found is not None]
    columns = [[value for value in column if value is not None] for column in zip(*there, strict=True)] or [[]] * len(COLUMNS)
    return [f"{len(there)}/{len(figures)}", *map(_spread, columns)]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{100 * statistics.mean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
