"""What lies in tars beside the images that are taken: counted by kind, with the names of the first few."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shards.sources.records import Ignored
from shards.sources.samples import OF_IMAGES

SHOWN = 3


@dataclass
class Tally:
    """Counts of what is ignored.

    Attributes:
        counts: of each kind.
        first: names of the first few of each kind.
    """

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)

    def add(self, ignored: Ignored) -> None:
        """Count one."""
        self._add(ignored.kind, 1, [ignored.name] if ignored.name else [])

    def update(self, other: "Tally") -> None:
        """Count what another has counted."""
        for kind, count in other.counts.items():
            self._add(kind, count, other.first.get(kind, []))

    def _add(self, kind: str, count: int, names: list[str]) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + count
        first = self.first.setdefault(kind, [])
        first += names[: SHOWN - len(first)]

    def described(self) -> dict[str, Any]:
        """Return it for JSON."""
        first = {kind: names for kind, names in sorted(self.first.items()) if names}
        return {"ignored": dict(sorted(self.counts.items())), **({"ignored_first": first} if first else {})}

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "Tally":
        """Return what `described` describes."""
        first = {kind: list(names) for kind, names in described.get("ignored_first", {}).items()}
        return cls(dict(described.get("ignored", {})), first)

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each kind that was left out, and so not for the files that tell of images."""
        for kind, count in sorted(self.counts.items()):
            if kind != OF_IMAGES:
                yield f"not taken: {count:,} {kind}, as {', '.join(self.first[kind])}"
