"""The folder `job` of a run directory: what the run was asked to do, who works on it, and how it ended.

config.yaml             the resolved configuration, with absolute paths
generation-NNNNNN.json  who took the run up, see launch.jobs.lease
heartbeat.json          the newest sign of life
done.json, failed.json  how it ended
crashes.json            how often it crashed since it last made progress
kept.json               how often a sweep's keeper took it up again since then
code/, slurm/           for Slurm: the code as it was submitted; scripts and output
"""

import json
import logging
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsva.exit_codes import FAULT, MISTAKE
from dsva.files import as_object, read_object, write_atomically
from dsva.run_directory import ASKED, CHECKPOINTS, JOB, METRICS
from dsva.runs.checkpoint_format import stored

log = logging.getLogger(__name__)

TAIL = 16384  # bytes: some 30 lines, among which the newest validation is


@dataclass(frozen=True)
class JobFolder:
    """The folder `job` of the run directory `run`."""

    run: Path

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.run / JOB

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.run / ASKED

    def read(self, name: str) -> dict[str, Any] | None:
        """Return one of the folder's small JSON files; None where there is none, or none that can be read."""
        return read_object(self.path / name) or None

    def write(self, name: str, **values: Any) -> None:
        """Write one of the folder's small JSON files, with the time, in one step."""
        self.path.mkdir(parents=True, exist_ok=True)
        # Several ranks may note their failures at once.
        writer = f"{socket.gethostname()}-{os.getpid()}"
        write_atomically(self.path / name, json.dumps({**values, "time": now()}) + "\n", writer)

    def done(self) -> dict[str, Any] | None:
        """Return the note that the run is complete."""
        return self.read("done.json")

    def failed(self) -> dict[str, Any] | None:
        """Return the note that the run ended without being complete: `reason`, and the exit `code`."""
        return self.read("failed.json")

    def fail(self, reason: str, code: int) -> None:
        """Note why the run ended, in words that a person understands; where there is no room for that, say it in the output.

        A mistake that one rank has noted stays, whatever befalls the others because of it.
        """
        if code == FAULT and (self.failed() or {}).get("code") == MISTAKE:
            return
        try:
            self.write("failed.json", reason=reason, code=code)
        except OSError as error:
            log.error("%s\nand this cannot be noted in %s: %s", reason, self.path, error)

    def forget_failure(self) -> None:
        """Begin anew after a failure."""
        (self.path / "failed.json").unlink(missing_ok=True)

    def step(self) -> int:
        """Return the steps of the newest checkpoint; 0 where there is none."""
        return max((named.step for named in stored(self.run / CHECKPOINTS)), default=0)

    def count(self, note: str) -> int:
        """Return how often a thing has happened since the newest checkpoint, this time included; `note` holds the last time's."""
        before = self.read(note) or {}
        return int(before.get("count", 0)) + 1 if before.get("step") == self.step() else 1

    def metrics(self) -> dict[str, Any]:
        """Return the newest value of each metric in the last lines of metrics.jsonl; empty where there are none."""
        try:
            with (self.run / METRICS).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - TAIL))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return {}
        return {name: value for line in lines for name, value in as_object(line).items()}


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
