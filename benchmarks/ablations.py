"""The honest table on AID: DSVA, what its parts are worth, baselines, and what choosing on the test classes would have gained.

Usage: OMP_NUM_THREADS=1 nice -n 19 python -m benchmarks.ablations SHARDS RUNS [--splits 25_5 20_10 15_15] [--seeds 3] [key=value]

SHARDS is what `dsva pack` makes of AID's class folders.

For each class split: `dsva ablate` (every variant's gamma comes from its own run on validation classes), and the same
experiment under the `paper` protocol, which picks step and gamma on the test classes. Finished runs are not trained
again: the same command continues, and prints the tables of what is there whenever a split is complete. The recipe is short
(150 steps at 72 pixels, some 45 s of one core, twice that with regions; about 93 runs): to compare, not to be quoted.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dsva.config import load
from dsva.evaluation.results import HEADS, Head, Results
from dsva.run_directory import RESULTS
from dsva.studies.ablation import Row, planned
from dsva.tables import Table, percent

ROOT = Path(__file__).resolve().parents[1]
SHORT = ("train.steps=150", "data.image_size=72", "data.resize=84", "run.checkpoint_every=150")
SPLITS = ("25_5", "20_10", "15_15")
LOOKS = 5  # at the test classes, under the paper protocol
BASELINES = ("ridge", "eszsl")


class Split:
    """The experiments of one class split, below the folder of all."""

    def __init__(self, name: str, given: argparse.Namespace) -> None:
        self.name, self.seeds = name, range(given.seeds)
        self.config = ROOT / "configs" / f"aid_{name}.yaml"
        self.folder = given.runs.resolve() / name
        self.overrides = (f"data.shards={given.shards.resolve()}", *SHORT, *given.overrides)

    def paper_run(self, seed: int) -> Path:
        """Return the directory of a run under the paper protocol."""
        return self.folder / "paper" / f"seed_{seed}"

    def train(self) -> None:
        """Train what is not there yet."""
        every = max(load(self.config, self.overrides).train.steps // LOOKS, 1)
        for seed in self.seeds:
            if not (self.paper_run(seed) / RESULTS).is_file():
                paper = ("eval.protocol=paper", f"validation.every={every}")
                self._dsva("train", *paper, f"run.seed={seed}", f"run.dir={self.paper_run(seed)}")
        self._dsva("ablate", f"--seeds={len(self.seeds)}", f"run.dir={self.folder / 'ablation'}")

    def rows(self) -> list[Row]:
        """Return the variants and their runs."""
        return planned(self.config, (*self.overrides, f"run.dir={self.folder / 'ablation'}"), len(self.seeds))

    def papers(self) -> list[Results]:
        """Return the results under the paper protocol."""
        return [Results.read(self.paper_run(seed) / RESULTS) for seed in self.seeds]

    def _dsva(self, command: str, *arguments: str) -> None:
        told = [sys.executable, "-m", "launch", command, str(self.config), *self.overrides, *arguments]
        subprocess.run(told, cwd=ROOT, check=True)


def honest(splits: Sequence[Split]) -> Table:
    """Return a row for each variant and head, each baseline and chance; ZSL, H and AUSUC of every split."""
    cells: dict[str, list[str]] = {}
    for split in splits:
        rows = split.rows()
        given = rows[0].results()
        for row in rows:
            found = row.results()
            for head in row.variant.heads:
                cells.setdefault(f"{row.variant.name}, {head} head", []).extend(figures([each.heads[head] for each in found]))
        for source in BASELINES:
            cells.setdefault(f"baseline: {source}", []).extend(figures([each.heads[source] for each in given]))
        chance = given[0].chance
        cells.setdefault("chance", []).extend(percent(chance[name]) for name in ("zsl", "harmonic", "ausuc"))
    columns = [f"{split.name} {figure}" for split in splits for figure in ("ZSL", "H", "AUSUC")]
    return Table("Honest protocol", ("", *columns), [[name, *values] for name, values in cells.items()])


def optimism(splits: Sequence[Split]) -> Table:
    """Return a row for each split and head: honest figures, those chosen on test, and the points that the choice gains."""
    return Table(
        "Points gained by choosing on the test classes",
        ("split, head", "ZSL honest", "ZSL chosen on test", "gain", "H honest", "H chosen on test", "gain"),
        [line for split in splits for head in HEADS for line in gains(split, head)],
    )


def gains(split: Split, head: str) -> Iterator[list[str]]:
    """Yield the row of a split and head; the honest H is at the validation run's gamma, at the last step."""
    last = [results.heads[head] for results in split.rows()[0].results()]
    chosen = [results.optimism[head] for results in split.papers() if results.optimism]
    pairs = (
        ([each.zsl for each in last], [each.zsl for each in chosen]),
        ([each.gzsl.harmonic for each in last if each.gzsl], [each.harmonic or 0 for each in chosen]),
    )
    cells = []
    for ours, theirs in pairs:
        cells += [spread(ours), spread(theirs), spread([b - a for a, b in zip(ours, theirs, strict=True)])]
    yield [f"{split.name}, {head}", *cells]


def figures(heads: Sequence[Head]) -> list[str]:
    """Return ZSL, H and AUSUC over seeds."""
    gzsl = [head.gzsl for head in heads if head.gzsl]
    return [spread([head.zsl for head in heads]), spread([each.harmonic for each in gzsl]), spread([each.ausuc for each in gzsl])]


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation in percent."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{percent(statistics.fmean(values))} ± {percent(deviation)}"


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args()
    done: list[Split] = []
    for name in given.splits:
        done.append(Split(name, given))
        done[-1].train()
        print("\n".join(["", *(made.markdown() for made in (honest(done), optimism(done)))]), flush=True)


if __name__ == "__main__":
    main()
