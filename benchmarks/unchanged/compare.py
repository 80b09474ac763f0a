"""Two sets of facts side by side."""

from collections import Counter

from benchmarks.unchanged.facts import Facts

NOTHING = "nothing"


def differences(before: Facts, after: Facts) -> list[str]:
    """Return a line for each fact that differs or is on one side only."""
    return [
        f"{name}: {before.get(name, NOTHING)} then, {after.get(name, NOTHING)} now"
        for name in sorted(before.keys() | after.keys())
        if name not in before or name not in after or before[name] != after[name]
    ]


def table(before: Facts, after: Facts) -> str:
    """Return a markdown table with rows of folders and columns of kinds: how many facts there are, and how many differ."""
    all_, different = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for name in before.keys() | after.keys():
        place = _place(name)
        all_[place] += 1
        different[place] += name not in before or name not in after or before[name] != after[name]
    kinds = sorted({kind for _, kind in all_})
    lines = [f"| | {' | '.join(kinds)} |", f"|:--|{'--:|' * len(kinds)}"]
    for row in sorted({row for row, _ in all_}):
        cells = [_cell(all_[row, kind], different[row, kind]) for kind in kinds]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(count: int, different: int) -> str:
    return "" if not count else f"**{different} of {count:,} differ**" if different else f"{count:,} equal"


def _place(name: str) -> tuple[str, str]:
    file, _, _ = name.partition(": ")
    parts = file.split("/")
    kind = {"decisions.safetensors": "decisions", "results.json": "results", "metrics.jsonl": "losses"}.get(parts[-1])
    if kind is None:
        kind = "weights" if parts[-1].endswith(".safetensors") else "other"
    return "/".join(parts[1 : min(3, len(parts) - 1)]) or file, kind
