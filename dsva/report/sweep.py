"""One HTML page of many runs: their table beside the published figures, what became of each, and their curves over one another."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsva.evaluation.decisions_file import DecisionsFile
from dsva.evaluation.metrics import curve
from dsva.evaluation.results import Results
from dsva.evaluation.tables import protocols
from dsva.files import read_lines
from dsva.report.charts import Bars, Line, bar_chart, line_chart
from dsva.report.curves import Chart
from dsva.report.page import Charts, Facts, Section, TableSection, write_page
from dsva.report.published import published
from dsva.run_directory import DECISIONS, METRICS, PAGE, RESULTS
from dsva.tables import Table, percent

LOSS = "loss/total"


@dataclass(frozen=True)
class Member:
    """A run among others.

    Attributes:
        name: of the run.
        group: what it shares with runs that differ only in their seed.
        seed: of the run.
        folder: of the run.
        state: what has become of it, in words.
        complete: whether it has results.
    """

    name: str
    group: str
    seed: int
    folder: Path
    state: str
    complete: bool


_Groups = Mapping[str, Sequence[tuple[Member, Results]]]


def write_sweep_report(folder: Path, head: str, table: Table, members: Sequence[Member], facts: Mapping[str, str]) -> Path:
    """Write the page of a sweep; return its path.

    Args:
        folder: that gets the page; links to the runs' own pages are relative to it.
        head: whose figures and curves are shown.
        table: means over seeds, the headline.
        members: all runs, the missing ones too.
        facts: about the sweep, for the end of the page.

    Raises:
        UserError: results that cannot be read, or decisions of another checkpoint.
    """
    found = {member.name: Results.read(member.folder / RESULTS) for member in members if member.complete}
    groups = defaultdict[str, list[tuple[Member, Results]]](list)
    for member in members:
        if member.complete:
            groups[member.group].append((member, found[member.name]))
    beside = [TableSection(published(results)) for results in list(found.values())[:1]]
    sections: list[Section] = [
        TableSection(table),
        *beside,
        TableSection(_each(members, found, head), _links(folder, members)),
        Charts("Training loss, seeds over one another", tuple(_losses(members))),
        Charts("Seen against unseen classes, seeds over one another", tuple(_seen_unseen(groups, head))),
        Charts("Unseen classes", tuple(_classes(groups, head))),
        Facts("Where the figures come from", {**facts, **_facts(found)}),
    ]
    missing = len(members) - len(found)
    lead = f"{len(found)} of {len(members)} runs are complete" + (f"; {missing} are missing and named below." if missing else ".")
    shown = [section for section in sections if not isinstance(section, Charts) or section.charts]
    write_page(folder / PAGE, f"Zero-shot scenes: {folder.name}", lead, shown)
    return folder / PAGE


def _each(members: Sequence[Member], found: Mapping[str, Results], head: str) -> Table:
    rows = []
    for member in members:
        results = found.get(member.name)
        rows.append([member.name, member.state, *(_figures(results, head) if results else [""] * 7)])
    note = f"Percent, {head} head. A run whose own page was written (`dsva report`) is linked.{protocols(found.values())}"
    return Table("Runs", ("run", "state", "protocol", "ZSL", "S", "U", "H", "AUSUC", "gamma"), rows, note)


def _figures(results: Results, head: str) -> list[str]:
    measured = results.heads[head]
    gzsl = measured.gzsl
    if gzsl is None:
        return [results.protocol, percent(measured.zsl), *["-"] * 5]
    shares = (measured.zsl, gzsl.seen, gzsl.unseen, gzsl.harmonic, gzsl.ausuc)
    return [results.protocol, *map(percent, shares), f"{gzsl.gamma:.4g}"]


def _links(folder: Path, members: Sequence[Member]) -> dict[str, str]:
    pages = {member.name: member.folder / PAGE for member in members}
    return {name: page.relative_to(folder).as_posix() for name, page in pages.items() if page.is_file()}


def _losses(members: Sequence[Member]) -> Iterator[Chart]:
    """Draw the loss of every run that has begun, a chart for each group."""
    lines = defaultdict[str, list[Line]](list)
    for member in members:
        points = [(float(entry["step"]), float(entry[LOSS])) for entry in read_lines(member.folder / METRICS) if LOSS in entry]
        if points:
            lines[member.group].append(Line(f"seed {member.seed}", points))
    for group, drawn in lines.items():
        caption = f"{group}: sum of the loss terms."
        yield line_chart(caption, drawn, "step", ""), caption


def _seen_unseen(groups: _Groups, head: str) -> Iterator[Chart]:
    for group, runs in groups.items():
        lines = []
        for member, results in runs:
            gzsl = results.heads[head].gzsl
            if gzsl is not None:
                steps = curve(DecisionsFile.read(member.folder / DECISIONS, results).decisions[head])
                mark = ((100 * gzsl.unseen, 100 * gzsl.seen), f"seed {member.seed} at gamma {gzsl.gamma:.4g}")
                name = f"seed {member.seed}, AUSUC {100 * gzsl.ausuc:.1f} %"
                lines.append(Line(name, list(zip(100 * steps.unseen, 100 * steps.seen, strict=True)), [mark]))
        if lines:
            caption = f"{group}: percent, while gamma rises; the dots are at the gamma that was used."
            yield line_chart(caption, lines, "U: unseen classes", "S: seen classes", limits=(0, 100)), caption


def _classes(groups: _Groups, head: str) -> Iterator[Chart]:
    for group, runs in groups.items():
        shares = defaultdict[str, list[float]](list)
        for _, results in runs:
            for count in results.heads[head].zsl_classes:
                shares[count.name].append(100 * count.correct / count.total)
        caption = (
            f"{group}: share of each unseen class's images that is recognised among the unseen ones, percent, mean over seeds."
        )
        means = [statistics.fmean(values) for values in shares.values()]
        yield bar_chart(caption, list(shares), [Bars("mean", means)], 0, 100), caption


def _facts(found: Mapping[str, Results]) -> dict[str, str]:
    """Return what the runs come from; what differs between them, by run."""
    facts: dict[str, str] = {}
    for name in ("data", "data_digest", "attributes_sha256", "attributes_meaning", "splits_sha256", "code", "packages", "device"):
        values = {run: _told(getattr(results.provenance, name)) for run, results in found.items()}
        told = set(values.values())
        facts[name.replace("_", " ")] = (
            told.pop() if len(told) == 1 else "; ".join(f"{run}: {value}" for run, value in values.items())
        )
    warnings = dict.fromkeys(text for results in found.values() for text in results.warnings)
    return {name: value for name, value in facts.items() if value} | {
        "warnings": " ".join(f"{text}." for text in warnings) or "none"
    }


def _told(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
