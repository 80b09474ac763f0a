"""What has become of a sweep's cells, as a table for the terminal, readable in 100 columns."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from launch.sweep.state import State

SHOWN = 40


def view(folder: Path, found: Sequence[State], everything: bool) -> Group:
    """Return one line for each cell with its log below it, and why cells failed or wait.

    Args:
        folder: of the sweep; logs are named relative to it.
        found: where its cells stand.
        everything: show every cell, not only the first that are not complete.
    """
    still = [state for state in found if state.name != "COMPLETE"]
    chosen = found if everything else still[:SHOWN]
    parts: list[RenderableType] = [Text(f"{folder}: {_counts(found)}{_left(found)}")]
    if chosen:
        parts.append(_table(folder, chosen))
    if len(chosen) < len(still):
        parts.append(Text(f"and {len(still) - len(chosen)} more; --all shows every cell"))
    parts += [Text(f"{state.cell.name}: {state.reason}", "red") for state in chosen if state.name == "FAILED"]
    waiting = Counter(state.reason for state in found if state.name == "PENDING" and state.reason)
    parts += [Text(f"{count} wait: {reason}", "dim") for reason, count in waiting.items()]
    return Group(*parts)


def _table(folder: Path, chosen: Sequence[State]) -> Table:
    made = Table(box=None, padding=(0, 1, 0, 0), header_style="bold underline")
    for name in ("cell, and its log", "state", "step", "left", "images/s", "score", "restarts", "node"):
        made.add_column(
            name, justify="right" if name in ("step", "left", "images/s", "score", "restarts") else "left", overflow="fold"
        )
    for state in chosen:
        left, speed = state.seconds_left, f"{state.speed:.4g}" if state.speed else ""
        cell = Text(state.cell.name).append(f"\n{_relative(state.log, folder)}" if state.log else "", "dim")
        step, restarts = f"{state.step}/{state.cell.steps}", str(state.restarts or "")
        made.add_row(cell, state.name, step, "" if left is None else _time(left), speed, state.score, restarts, Text(state.node))
    return made


def _counts(found: Sequence[State]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(state.name for state in found).items()))


def _left(found: Sequence[State]) -> str:
    """Say how much work is left of all cells that run or wait, at the mean speed of those whose speed is known."""
    speeds = [state.speed for state in found if state.speed]
    images = sum((state.cell.steps - state.step) * state.cell.batch_size for state in found if state.name in ("RUNNING", "PENDING"))
    return f"; {_time(images * len(speeds) / sum(speeds))} of work left, one after another" if speeds and images else ""


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"


def _relative(log: str, folder: Path) -> str:
    path = Path(log)
    return str(path.relative_to(folder.absolute())) if path.is_relative_to(folder.absolute()) else log
