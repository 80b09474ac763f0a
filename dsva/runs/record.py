"""The run directory as a record: configuration, environment, command, code, every start; see `dsva.run_directory` for its files."""

import json
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from dsva.config import Config, dump, load
from dsva.files import NoRoomError, append_line, read_object, room_for, write_atomically
from dsva.processes.environment import SlurmJob
from dsva.provenance.code import running_code
from dsva.provenance.starts import KEEP_EVERY
from dsva.run_directory import CODE, CONFIG, ENDED, ENVIRONMENT, LOCK, REFUSED, STARTS
from dsva.runs.gate import DamagedRecordError, admit, recorded
from shards.errors import UserError
from shards.locks import take

# webdataset reads the same shards, but nothing here imports it: where it is not installed, it is left out.
PACKAGES = ("dsva", "torch", "accelerate", "transformers", "webdataset", "numpy")


def open_record(config: Config, inputs: Mapping[str, str] | None = None) -> TextIO:
    """Create the run directory or pass its gate, see `dsva.runs.gate.admit`; return its lock, to be kept open.

    Nothing else is written yet: a start that is refused after all leaves the record as it was.

    Raises:
        UserError: the directory holds another run, something else, cannot be made, or is in use by a running process.
    """
    folder = config.run.dir
    admit(folder, config, inputs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise UserError(f"run.dir={folder} cannot be made or written to ({error.strerror}): give another folder") from None
    try:
        if take(lock):
            return lock
    except OSError as error:
        raise UserError(
            f"run.dir={folder} cannot be locked ({error.strerror}): give a folder on a file system with locks"
        ) from None
    raise UserError(f"run.dir={folder} is in use by a running process: wait for it, or give another folder")


def read_config(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of the run in `folder`, with values changed by `overrides`.

    Raises:
        UserError: no run lies there, what it has noted is damaged, or an override is wrong.
    """
    if not (folder / CONFIG).is_file() and not (folder / STARTS).is_file():
        raise UserError(f"{folder} is not a run directory (it has no {CONFIG}): give one that `dsva train` wrote")
    recorded(folder)
    return load(folder / CONFIG, overrides)


def note_end(folder: Path, why: str) -> None:
    """Leave word for the next start why this one ends, if there is room for it."""
    with suppress(NoRoomError):
        write_atomically(folder / ENDED, json.dumps({"why": why}) + "\n")


def why_started(folder: Path, environment: Mapping[str, str]) -> str:
    """Say why the run in `folder` is started, as far as the end before and Slurm have left word."""
    if not (folder / STARTS).is_file():
        why = "first start"
    elif before := read_object(folder / ENDED).get("why"):
        why = f"after: {before}"
    else:
        why = "after a crash or a kill, of which nothing was noted"
    job = SlurmJob.of(environment)
    return f"{why}; restart {job.restarts} of Slurm job {job.number}" if job and job.restarts else why


def unlike_before(folder: Path, hardware: Mapping[str, Any]) -> str:
    """Return a sentence on what `hardware` has that the last start had not and results depend on; empty if nothing, or no start."""
    before = read_object(folder / ENVIRONMENT)
    changes = [f"{name} {before[name]} then, {now} now" for name, now in hardware.items() if before.get(name, now) != now]
    if not changes:
        return ""
    return f"{'; '.join(changes)}: the finished weights will not be those of an uninterrupted run to the last bit"


def set_damaged_aside(folder: Path) -> str:
    """Copy a configuration that cannot be read beside itself, before it is written anew; return a sentence on it, or nothing."""
    file, aside = folder / CONFIG, folder / f"damaged-{CONFIG}"
    try:
        if file.is_file():
            recorded(folder)
    except DamagedRecordError:
        with room_for(aside):
            shutil.copyfile(file, aside)
        return f"{file} was damaged and is written anew; what was left of it is kept as {aside.name}"
    return ""


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def note_start(config: Config, step: int, inputs: Mapping[str, str], hardware: Mapping[str, Any], why: str) -> None:
    """Write the configuration, add this start to the lineage and describe its environment, `hardware` included.

    Raises:
        NoRoomError: there is no room for it; a start that is not in the lineage must not take steps.
    """
    folder = config.run.dir
    code, diff = running_code()
    name = f"{CODE}/{code['sha256'][:16]}.diff" if diff else None
    write_atomically(folder / CONFIG, dump(config))
    environment: dict[str, Any] = {
        "command": sys.argv,
        "code": code,
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
        **hardware,
    }
    write_atomically(folder / ENVIRONMENT, json.dumps(environment, indent=1) + "\n")
    if name:
        (folder / CODE).mkdir(exist_ok=True)
        write_atomically(folder / name, diff)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    start = {"time": now, "host": socket.gethostname(), "pid": os.getpid(), "step": step, "why": why}
    append_line(
        folder / STARTS, {**start, KEEP_EVERY: config.run.keep_every, "inputs": dict(inputs), "code": {**code, "diff": name}}
    )
    for name in (ENDED, REFUSED):
        (folder / name).unlink(missing_ok=True)
