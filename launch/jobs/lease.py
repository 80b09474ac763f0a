"""One process at a time works on a run: a lease with a generation and a heartbeat, on any shared file system.

Who creates the file generation-N.json holds the run. Another may create the next one when the holder said that it
ended, when it belongs to an earlier start of the same Slurm job (Slurm runs a job once at a time), or when its heart
has stopped. A holder that finds a newer generation than its own leaves at once, without touching anything more.
Nobody's clock is compared with anybody else's: whoever waits looks whether the heartbeat changes.
"""

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, Self

from dsva.exit_codes import OVERTAKEN
from dsva.processes.environment import node_name
from launch.jobs.folder import JobFolder, now
from launch.jobs.worker import Worker
from shards.errors import UserError

log = logging.getLogger(__name__)

BEAT, STOPPED = 5.0, 30.0  # seconds between beats, and after which a heart has stopped


class HeldError(UserError):
    """Another process works on the run, whose notes are that one's."""


class Lease:
    """The right to work on a run, held by rank 0 for its job; a context manager.

    Attributes:
        generation: how often the run was taken up, this time included.
    """

    def __init__(self, folder: JobFolder, worker: Worker) -> None:
        """Take the run up.

        Raises:
            HeldError: another process works on it.
        """
        folder.path.mkdir(parents=True, exist_ok=True)
        self._folder, self._worker = folder, worker
        self.generation = 0
        while not self.generation:
            newest, holder = newest_generation(folder)
            if not may_follow(folder, newest, holder, worker):
                raise HeldError(
                    f"{folder.run} is being worked on by job {holder['job']} on {holder['host']} (generation {newest}): "
                    "wait for it, or cancel it"
                )
            if _create(folder, newest + 1, worker):
                self.generation = newest + 1
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._beat("running")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended.is_set():
            self.release("ended")

    def release(self, state: str) -> None:
        """Let the next one take the run up at once; `state` is "ended" or "requeued"."""
        self._ended.set()
        self._thread.join()
        try:
            self._beat(state)
        except OSError as error:  # who wants to take the run up now waits for the heart to stop
            self._missed(error)

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                if newest_generation(self._folder)[0] > self.generation:
                    log.error("%s was taken up by another process: leaving", self._folder.run)
                    os._exit(OVERTAKEN)
                self._beat("running")
            except OSError as error:  # a file system that is full or slow for a while: the next beat may succeed
                self._missed(error)

    def _missed(self, error: OSError) -> None:
        log.warning("no heartbeat in %s: %s", self._folder.path, error)

    def _beat(self, state: str) -> None:
        self._beats += 1
        start = self._worker.start
        self._folder.write("heartbeat.json", generation=self.generation, beat=self._beats, state=state, start=start, **_host())


def newest_generation(folder: JobFolder) -> tuple[int, dict[str, Any]]:
    """Return the number of the newest generation and what it says of itself; 0 where the run was never taken up."""
    names = sorted(path.name for path in folder.path.glob("generation-*.json"))
    if not names:
        return 0, {}
    unknown = {"job": "unknown", "host": "an unknown host", "pid": 0}
    return int(names[-1].removeprefix("generation-").removesuffix(".json")), unknown | (folder.read(names[-1]) or {})


def may_follow(folder: JobFolder, newest: int, holder: dict[str, Any], worker: Worker) -> bool:
    """Say whether the newest generation works no more; waits `STOPPED` seconds for a sign of life where that is unknown."""
    first = folder.read("heartbeat.json") or {}
    mine = first.get("generation") == newest
    if newest == 0 or holder["job"] == worker.job or (mine and first["state"] != "running"):
        return True
    if holder["host"] == _host()["host"] and not Path(f"/proc/{holder['pid']}").exists():
        return True
    end = time.monotonic() + STOPPED
    while time.monotonic() < end:
        time.sleep(BEAT / 5)
        if folder.read("heartbeat.json") not in (first, None) or newest_generation(folder)[0] != newest:
            return False
    return True


def _create(folder: JobFolder, generation: int, worker: Worker) -> bool:
    """Create the file of a generation; False where another process was faster."""
    try:
        with (folder.path / f"generation-{generation:06d}.json").open("x") as file:
            file.write(json.dumps({"job": worker.job, "start": worker.start, "time": now(), **_host()}) + "\n")
    except FileExistsError:
        return False
    return True


def _host() -> dict[str, Any]:
    return {"host": node_name(), "pid": os.getpid()}
