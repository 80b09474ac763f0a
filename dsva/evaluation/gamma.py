"""Gamma, which is subtracted from the scores of seen classes (calibrated stacking, Chao et al. 2016): where it is chosen.

It is given, or the best on validation classes of a run that had them, or 0; never chosen on test classes. The best of a curve is
`dsva.evaluation.metrics.Curve.best`; it is subtracted in `Decisions.gzsl` there, and in `dsva.inference.classifier`.
"""

from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import AfterValidator

from dsva.config import EvalConfig, check
from dsva.evaluation.results import Provenance, Results
from dsva.json_files import Names, Schema, read_model
from dsva.run_directory import RESULTS
from shards.errors import UserError

CHOICE = "choice.json"
NO_GAMMA = "zero: no validation run was given"


def _inside(names: list[str]) -> list[str]:
    if outside := [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise ValueError(f"the run {outside[0]!r} is outside of the folder")
    return names


class _Choice(Schema):
    """What is read of choice.json: the runs of the values that were chosen, relative to its folder."""

    runs: Annotated[Names, AfterValidator(_inside)]


def choose_gamma(config: EvalConfig, head: str, run: Provenance) -> tuple[float, str]:
    """Return a head's gamma and where it comes from: given, best of the validation run or mean of those chosen, or 0.

    Raises:
        UserError: a validation run is none, is unfinished, has no GZSL figures, or was made on other images,
            classes or scores, so that its gamma would mean nothing here or have met test images.
    """
    if config.gamma is not None:
        return config.gamma, "given"
    if config.validation_run is None:
        return 0.0, NO_GAMMA
    path = config.validation_run
    runs = validation_runs(path)
    gammas = [_best_gamma(each, head, run) for each in runs]
    return fmean(gammas), f"validation run {path}" if runs == [path] else f"mean of {len(runs)} validation runs in {path}"


def validation_runs(path: Path) -> list[Path]:
    """Return the run that `path` is, or the runs of the values that `dsva choose` chose there.

    Raises:
        UserError: choice.json is not as `dsva choose` writes it.
    """
    file = path / CHOICE
    if not file.is_file():
        return [path]
    return [path / name for name in read_model(file, _Choice, "run `dsva choose` again")[0].runs]


def _best_gamma(path: Path, head: str, run: Provenance) -> float:
    results = Results.read(path / RESULTS)
    if results.protocol != "validation":
        raise UserError(
            f"eval.validation_run={path} had no validation.partition, so its gamma was chosen on test images: give one that had"
        )
    theirs, ours = _comparable(results.provenance), _comparable(run)
    for name, value in ours.items():
        if theirs[name] != value:
            raise UserError(
                f"eval.validation_run={path} differs from this run in {name}: {theirs[name]}, here {value}; give a run that agrees"
            )
    gzsl = results.heads[head].gzsl if head in results.heads else None
    if gzsl is None:
        raise UserError(f"eval.validation_run={path} has no GZSL figures of the head {head!r}: give another, or eval.gamma")
    return gzsl.best_gamma


def _comparable(run: Provenance) -> dict[str, Any]:
    config = check(run.config, f"the configuration in {RESULTS} of {run.run_dir}")
    return {
        "the shard set": run.data_digest,
        "the split file": run.splits_sha256,
        "classes.split": run.split,
        "the attribute table": run.attributes_sha256,
        "classes.seen_test_share": config.classes.seen_test_share,
        "the scores": config.scores,
    }
