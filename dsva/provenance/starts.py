"""starts.jsonl of a run: every start, with the inputs that it trained on and the code that computed it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsva.files import read_lines
from dsva.provenance.code import running_code
from dsva.run_directory import STARTS

FROM = "from_step"
KEEP_EVERY = "keep_every"


def noted_inputs(folder: Path) -> dict[str, Any] | None:
    """Return the digests that the newest start of a run has noted, by configuration key; None where none did."""
    noted = [start["inputs"] for start in read_lines(folder / STARTS) if isinstance(start.get("inputs"), dict)]
    return noted[-1] if noted else None


def kept_for_good(folder: Path, step: int) -> bool:
    """Tell whether the start that saved the checkpoint after `step` steps was to keep it for good."""
    by = [start for start in read_lines(folder / STARTS) if isinstance(start.get("step"), int) and start["step"] < step]
    every = by[-1].get(KEEP_EVERY) if by else None
    return isinstance(every, int) and every > 0 and step % every == 0


def trained_by(folder: Path, step: int) -> list[dict[str, Any]]:
    """Return the codes that have computed the state of the run in `folder` after `step` steps, in order.

    Each says `from_step`, the steps that were taken before it; one of which nothing was recorded says nothing more.
    """
    course: list[dict[str, Any]] = []
    for start in read_lines(folder / STARTS):
        begun, code = start.get("step"), start.get("code")
        if isinstance(begun, int) and begun < step:
            # What went further than this start's checkpoint was computed again.
            course = [before for before in course if before[FROM] < begun]
            course.append({FROM: begun, **(code if isinstance(code, dict) else {})})
    return [code for before, code in zip([{}, *course], course, strict=False) if _same(before) != _same(code) or not before]


def code_of(folder: Path, step: int) -> dict[str, Any]:
    """Return what results of the run in `folder` after `step` steps say of the code: this process's, and what trained.

    `modified` is true if any of them was, and null if that is not known of all.
    """
    here, _ = running_code()
    parts = trained_by(folder, step)
    known = [part.get("modified") for part in (*parts, here)]
    return {**here, "modified": True if any(known) else None if None in known else False, "trained_by": parts}


def other_code(folder: Path, step: int) -> str:
    """Return a sentence if the code that goes on after `step` is not the one that came so far; empty if it is, or is not known."""
    before, (here, _) = trained_by(folder, step), running_code()
    if not before or before[-1].get("sha256", here["sha256"]) == here["sha256"]:
        return ""
    return f"the code is not that of the steps before: {_name(before[-1])} then, {_name(here)} now; the results will name both"


def changes(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return in words which codes trained in turn, if there were several; else empty."""
    if len(parts) < 2:
        return ""
    return "the code changed during training: " + "; ".join(f"{_name(part)} from step {part[FROM]}" for part in parts)


def described(code: Mapping[str, Any]) -> str:
    """Return in words the code that results or an exported model name."""
    return changes(code.get("trained_by", ())) or _name(code)


def _same(code: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in code.items() if name != FROM}


def _name(code: Mapping[str, Any]) -> str:
    if "version" not in code:
        return "code of which nothing was recorded"
    commit = f", commit {str(code['commit'])[:12]}" if code.get("commit") else ""
    diff = f" ({code['diff']})" if code.get("diff") else ""
    changed = f" with changes{diff}" if code.get("modified") else ""
    return f"{code['version']}{commit}{changed}, sha256 {str(code.get('sha256', 'unknown'))[:12]}"
