"""The demonstration: draw scenes, pack them, choose gamma, train a small model, score classes it has never seen, show why."""

import logging
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from dsva.config import load
from dsva.demo.scenes import draw_scenes
from dsva.report.build import write_report
from dsva.runs.record import open_record
from dsva.settings import as_override
from dsva.studies.ablation import finished
from dsva.train.run import complete
from shards.pack import pack
from shards.sources import open_source

IMAGES_PER_CLASS = 60
WORKERS = 2  # processes that draw and pack
log = logging.getLogger(__name__)


def run_demo(target: Path, overrides: Sequence[str]) -> tuple[Path, Path]:
    """Do all of it below the folder `target`, continuing what lies there; return the run, and the page that shows it.

    Raises:
        UserError: an override is wrong, or the folder cannot be used.
        StoppedError: a signal came, and the run that it came in is saved.
    """
    with as_file(files("dsva.demo") / "demo.yaml") as path:
        final = load(path, (*_places(target), as_override("eval.validation_run", target / "validation"), *overrides))
        first = load(path, (*_places(target), *overrides, "validation.partition=0", as_override("run.dir", target / "validation")))
    open_record(final).close()  # refuses a folder that cannot be used, before any work
    if not final.data.shards.is_dir():
        log.info("drawing scenes into %s", target / "scenes")
        draw_scenes(target / "scenes", IMAGES_PER_CLASS, workers=WORKERS)
        pack(open_source(target / "scenes"), final.data.shards, workers=WORKERS)
    if not finished(first):
        log.info("a third of the seen classes held out, to choose gamma by them")
        complete(first)
    log.info("all seen classes train")
    complete(final)
    return final.run.dir, write_report(final.run.dir)


def _places(target: Path) -> Sequence[str]:
    scenes = target / "scenes"
    places = {
        "data.shards": target / "shards",
        "classes.attributes": scenes / "class_attributes.json",
        "classes.splits": scenes / "class_splits.json",
        "run.dir": target / "run",
    }
    return [as_override(key, path) for key, path in places.items()]
