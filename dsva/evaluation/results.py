"""results.json: the figures of a run, and everything needed to say where they come from."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, PositiveInt, ValidationInfo, field_validator

from dsva.config import HeadName
from dsva.evaluation.metrics import Decisions, chance, curve, harmonic, mean_accuracy
from dsva.files import write_atomically
from dsva.json_files import Name, read_model
from dsva.provenance.starts import changes, code_of
from dsva.usage import Cost
from shards.errors import UserError

if TYPE_CHECKING:  # reading results needs no model
    from dsva.protocol.experiment import Experiment

HEADS = get_args(HeadName)
LEVELS = ("zsl", "seen", "unseen", "harmonic", "ausuc")  # of chance


def _with_backbone(config: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(config.get("model"), dict) or not isinstance(config["model"].get("backbone"), str):
        raise ValueError("no model.backbone")
    return config


class Weights(NamedTuple):
    """What tells a model's weights from others: their step, the sha256 of their checkpoint, and their own."""

    step: int
    checkpoint_sha256: str
    sha256: str

    def record(self) -> dict[str, Any]:
        """Return it as whatever comes from these weights carries it."""
        return {"checkpoint_step": self.step, "checkpoint_sha256": self.checkpoint_sha256, "weights_sha256": self.sha256}


NO_WEIGHTS = Weights(0, "", "")  # where none were scored yet


class Part(BaseModel):
    """A part of results.json: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClassCount(Part):
    """How many test images of a class there are, and how many of them were recognised."""

    name: str
    correct: int
    total: PositiveInt


class Gzsl(Part):
    """Generalized zero-shot figures: all classes are candidates.

    `seen` is S, `unseen` U, `harmonic` H, at `gamma`. `best_gamma` and `best_harmonic` were selected on the very
    images that they are measured on: in a validation run they are its purpose, in an honest one a mere bound.
    """

    gamma: float
    gamma_source: str
    seen: float
    unseen: float
    harmonic: float
    ausuc: float
    best_gamma: float
    best_harmonic: float
    classes: tuple[ClassCount, ...]


class Interval(Part):
    """Ends of a 95 % confidence interval."""

    low: float
    high: float


class Intervals(Part):
    """Of a head's figures, S, U and H at its gamma; those need seen test images."""

    zsl: Interval
    seen: Interval | None = None
    unseen: Interval | None = None
    harmonic: Interval | None = None


class Head(Part):
    """Figures of one source of scores. `zsl` is the mean top-1 among the unseen classes; `gzsl` needs seen test images.

    `over_images` says how far other images of the same classes would have moved the figures, `over_classes` other images
    of other classes (bootstrap).
    """

    zsl: float
    zsl_classes: tuple[ClassCount, ...]
    gzsl: Gzsl | None
    over_images: Intervals | None = None
    over_classes: Intervals | None = None


class Optimism(Part):
    """What the `paper` protocol reports of a head: its best test figures over the steps, H with the best gamma of each step.

    The gains are over the figures at the last step, which is what an honest protocol would have had: points (shares of
    1) that choosing on the test classes alone is worth.
    """

    zsl_step: int
    zsl: float
    zsl_gain: float
    harmonic_step: int | None = None
    harmonic: float | None = None
    harmonic_gain: float | None = None


class Provenance(Part):
    """Where the figures come from; hashes are sha256, `data_digest` is the shard set's own.

    `weights_sha256` is of the weights as they were scored, whatever checkpoint or layout holds them; empty in older files.
    `code` is what `dsva.provenance.starts.code_of` says; results of earlier versions hold no `trained_by` there.
    """

    run_dir: str
    checkpoint_step: int
    checkpoint_sha256: str
    weights_sha256: str = ""
    data: str
    data_digest: str
    attributes_sha256: str
    attributes_meaning: str
    splits_sha256: str
    split: str
    seed: int
    config: Annotated[dict[str, Any], AfterValidator(_with_backbone)]
    code: dict[str, Any]
    packages: dict[str, str]
    device: str
    date: str
    cost: Cost | None = None


class Results(Part):
    """The whole file. `honest` figures are tests on unseen classes; `validation` figures serve to choose.

    In the `paper` protocol `optimism` holds what was chosen on the test classes; in `exemplars` rows of unseen classes
    were made from some of their images, which is not zero-shot.
    """

    format: Literal[1] = 1
    protocol: Literal["honest", "validation", "paper", "exemplars"]
    seen: tuple[Name, ...]
    unseen: tuple[Name, ...]
    images: dict[Literal["train", "seen_test", "unseen_test"], int]
    warnings: tuple[str, ...]
    heads: dict[str, Head]
    optimism: dict[str, Optimism] | None = None
    chance: dict[str, float]
    provenance: Provenance

    @field_validator("heads", "chance")
    @classmethod
    def _whole(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if missing := [name for name in (HEADS if info.field_name == "heads" else LEVELS) if name not in value]:
            raise ValueError(f"no {missing[0]}")
        return value

    @classmethod
    def of(cls, experiment: "Experiment", heads: dict[str, Head], provenance: Provenance) -> Self:
        """Put the measured heads of an experiment beside what is known of it."""
        sets, quirks = experiment.sets, experiment.config.quirks()
        published = [f"as the published code does it: {', '.join(quirks)}"] if quirks else []
        return cls(
            protocol=experiment.config.eval.protocol if experiment.config.validation.partition is None else "validation",
            seen=sets.seen,
            unseen=sets.unseen,
            images={"train": len(sets.train), "seen_test": len(sets.seen_test), "unseen_test": len(sets.unseen_test)},
            warnings=(*sets.warnings, *published, *filter(None, [changes(provenance.code["trained_by"])])),
            heads=heads,
            chance=chance(len(sets.seen), len(sets.unseen)),
            provenance=provenance,
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a results.json.

        Raises:
            UserError: unreadable, or not written by this format.
        """
        if not path.exists():
            raise UserError(f"{path} is not there: let the training come to its end, or score it with `dsva eval {path.parent}`")
        return read_model(path, cls, "evaluate the run again")[0]

    def write(self, path: Path) -> None:
        """Write the file in one step."""
        write_atomically(path, self.model_dump_json(indent=1) + "\n")


def measure(decisions: Decisions, classes: tuple[str, ...], gamma: float, gamma_source: str) -> Head:
    """Compute all figures of a head; `classes` names the places that the decisions speak of."""
    n_seen = decisions.n_seen
    alone = decisions.zsl()
    head = Head(zsl=mean_accuracy(alone, slice(n_seen, None)), zsl_classes=_counts(alone, classes), gzsl=None)
    if not (decisions.labels < n_seen).any():
        return head
    among_all, steps = decisions.gzsl(gamma), curve(decisions)
    seen, unseen = mean_accuracy(among_all, slice(n_seen)), mean_accuracy(among_all, slice(n_seen, None))
    best_gamma, best_harmonic = steps.best()
    gzsl = Gzsl(
        gamma=gamma,
        gamma_source=gamma_source,
        seen=seen,
        unseen=unseen,
        harmonic=float(harmonic(seen, unseen)),
        ausuc=steps.ausuc(),
        best_gamma=best_gamma,
        best_harmonic=best_harmonic,
        classes=_counts(among_all, classes),
    )
    return head.model_copy(update={"gzsl": gzsl})


def _counts(confusion: NDArray[np.int64], classes: tuple[str, ...]) -> tuple[ClassCount, ...]:
    rows = zip(classes, confusion.diagonal().tolist(), confusion.sum(axis=1).tolist(), strict=True)
    return tuple(ClassCount(name=name, correct=correct, total=total) for name, correct, total in rows if total)


def provenance(experiment: "Experiment", weights: Weights, device: str) -> Provenance:
    """Describe an experiment, the weights that were scored, the code and the machine, now."""
    config = experiment.config
    return Provenance(
        run_dir=str(config.run.dir),
        **weights.record(),
        data=str(experiment.shards.root),
        data_digest=experiment.shards.digest,
        attributes_sha256=experiment.table.sha256,
        attributes_meaning=experiment.table.meaning,
        splits_sha256=experiment.split.sha256,
        split=experiment.split.name,
        seed=config.run.seed,
        config=config.model_dump(mode="json"),
        code=code_of(config.run.dir, weights.step),
        packages={name: version(name) for name in ("torch", "transformers", "numpy")},
        device=device,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
