"""decisions.safetensors: what a run decided on each test image, from which every figure of its results follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dsva.evaluation.metrics import Decisions
from dsva.evaluation.results import Results
from dsva.files import write_atomically
from shards.errors import UserError
from shards.order import Ids

_PARTS = ("seen", "unseen", "breaks")


@dataclass(frozen=True, eq=False)
class DecisionsFile:
    """Decisions of all sources of scores on the same test images.

    Attributes:
        ids: the samples, ascending, [N].
        decisions: by source (a head or a baseline), in the order of `ids`.
        checkpoint: sha256 of the checkpoint that was scored.
    """

    ids: Ids
    decisions: Mapping[str, Decisions]
    checkpoint: str

    def write(self, path: Path) -> None:
        """Write the file in one step."""
        first = next(iter(self.decisions.values()))
        tensors: dict[str, NDArray[np.generic]] = {"ids": self.ids, "labels": first.labels}
        for source, decided in self.decisions.items():
            tensors |= {f"{source}/{part}": np.ascontiguousarray(getattr(decided, part)) for part in _PARTS}
        sizes = {"n_seen": str(first.n_seen), "n_classes": str(first.n_classes)}
        # As bytes: what the package says of a file that it cannot write is not what the system said.
        write_atomically(path, save(tensors, {"checkpoint": self.checkpoint, "sources": "\n".join(self.decisions), **sizes}))

    @classmethod
    def read(cls, path: Path, results: Results) -> Self:
        """Read the file that lies beside results.

        Raises:
            UserError: missing, damaged, of another checkpoint, or without one of the sources of scores.
        """
        try:
            with safe_open(path, framework="numpy") as opened:
                made = opened.metadata()
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (safe_open is no mapping)
            sizes = (int(made["n_seen"]), int(made["n_classes"]))
            decided = {
                source: Decisions(*sizes, tensors["labels"], *(tensors[f"{source}/{part}"] for part in _PARTS))
                for source in made["sources"].split("\n")
            }
            found = cls(tensors["ids"], decided, made["checkpoint"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path} cannot be read ({error}): score the run again with `dsva eval`") from None
        if found.checkpoint != results.provenance.checkpoint_sha256:
            raise UserError(f"{path} is of another checkpoint than results.json: score the run again with `dsva eval`")
        if sizes != (len(results.seen), len(results.seen) + len(results.unseen)):
            raise UserError(f"{path} is of other classes than results.json: score the run again with `dsva eval`")
        if missing := [source for source in results.heads if source not in decided]:
            raise UserError(f"{path} has no decisions by {missing[0]}: score the run again with `dsva eval`")
        return found
