"""Verifying as a job array."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from launch.archive.actions import Spread, Undertaking
from launch.archive.array import Array
from launch.archive.printing import print_findings
from launch.archive.task import VerifyTask, findings_file
from shards.description import Description
from shards.verify import check_index


class Verifying(Undertaking):
    """Checking the set `of`; the findings of each shard meet in a folder of the notes."""

    what = "verifying"

    def __init__(self, root: Path, description: Description, notes: Path | None) -> None:
        self.of = root.absolute()
        self.asked = {"set": description.digest}
        self.array = Array((notes or self.of.with_name(f"{self.of.name}.verifying")).absolute())
        self._shards, self._found = description.shards, self.array.folder / "found"

    def done(self) -> bool:
        """Return whether each shard of this very set was checked."""
        return self.array.asked() == self.asked and len(self.finished()) == len(self._shards)

    def parts(self, spread: Spread) -> Sequence[VerifyTask]:
        """Return the shards that were not checked yet, in parts."""
        if self.array.asked() != self.asked:
            shutil.rmtree(self._found, ignore_errors=True)
        self._found.mkdir(exist_ok=True)
        todo = [number for number in range(len(self._shards)) if number not in self.finished()]
        return [
            VerifyTask(self.array.part(part), tuple(todo[part :: spread.jobs]), spread.workers, self.of, self._found)
            for part in range(min(spread.jobs, len(todo)))
        ]

    def sizes(self) -> dict[int, tuple[int, int]]:
        """Return images and bytes of each shard."""
        return {number: (shard.samples, shard.size) for number, shard in enumerate(self._shards)}

    def finished(self) -> set[int]:
        """Return the shards that were checked."""
        return {int(path.stem) for path in self._found.glob("[0-9]*.json")}

    def report(self) -> None:
        """List what is wrong with the set.

        Raises:
            UserError: something is.
        """
        findings = check_index(self.of)
        for number in range(len(self._shards)):
            findings += json.loads(findings_file(self._found, number).read_text())
        self.array.forget()
        print_findings(self.of, findings)
