"""The demonstration: draw scenes, pack them, choose gamma, train a small model, score classes it has never seen, show why."""

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from dsva.config import load
from dsva.demo.scenes import draw_scenes
from dsva.report.build import write_report
from dsva.runs.record import open_record
from dsva.studies.ablation import finished
from dsva.train.run import run
from shards.pack import pack
from shards.sources import open_source

IMAGES_PER_CLASS = 60
WORKERS = 2  # processes that draw and pack


def run_demo(target: Path, overrides: Sequence[str], console: Console) -> int:
    """Do all of it below the folder `target`, continuing what lies there; return the exit code of the training.

    Raises:
        UserError: an override is wrong, or the folder cannot be used.
    """
    with as_file(files("dsva.demo") / "demo.yaml") as path:
        final = load(path, (*_places(target), f"eval.validation_run={target / 'validation'}", *overrides))
        first = load(path, (*_places(target), *overrides, "validation.partition=0", f"run.dir={target / 'validation'}"))
    open_record(final).close()  # refuses a folder that cannot be used, before any work
    if not final.data.shards.is_dir():
        console.print(f"drawing scenes into {target / 'scenes'}", markup=False, soft_wrap=True)
        draw_scenes(target / "scenes", IMAGES_PER_CLASS, workers=WORKERS)
        pack(open_source(target / "scenes"), final.data.shards, workers=WORKERS, console=console)
    if not finished(first):
        console.rule("a third of the seen classes held out, to choose gamma by them")
        if code := run(first, console):
            return code
    console.rule("all seen classes train")
    code = run(final, console)
    if code == 0:
        console.print(f"look at it: {write_report(final.run.dir)}", markup=False, soft_wrap=True)
    return code


def _places(target: Path) -> Sequence[str]:
    scenes = target / "scenes"
    places = {
        "data.shards": target / "shards",
        "classes.attributes": scenes / "class_attributes.json",
        "classes.splits": scenes / "class_splits.json",
        "run.dir": target / "run",
    }
    return [f"{key}={path}" for key, path in places.items()]
