"""Findings for people: one line for those that are alike, with what to do about them."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from launch.doctor.finding import Finding, Verdict

COLOURS: dict[Verdict, str] = {"OK": "green", "WARN": "yellow", "FAIL": "red"}
NAMED = 4  # nodes that are named; of more their number is told


def worst(findings: Sequence[Finding]) -> Verdict:
    """Return the worst verdict."""
    return max((finding.verdict for finding in findings), key=list(COLOURS).index, default="OK")


def view(findings: Sequence[Finding]) -> Table:
    """Return a table with a line for each check, verdict and mend; of several nodes the first one's words stand for all."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.check, finding.verdict, finding.mend), []).append(finding)
    table = Table("check", "", "found", "what to do", "where")
    for (check, _, mend), found in alike.items():
        verdict, nodes = found[0].verdict, list(dict.fromkeys(finding.node for finding in found))
        where = ", ".join(nodes) if len(nodes) <= NAMED else f"{nodes[0]} and {len(nodes) - 1} more nodes"
        table.add_row(Text(check), Text(verdict, COLOURS[verdict]), *map(Text, (found[0].said, mend, where)))
    return table
