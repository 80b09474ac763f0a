"""Commands that look at finished runs: what they decide about images, and why."""

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsva.config import HeadName
from dsva.exit_codes import MISTAKE
from launch import voice
from shards.errors import UserError
from shards.sources.walk import told
from shards.user_images import Unused

if TYPE_CHECKING:
    from dsva.inference.viewer import Viewer

# Imports of torch and what needs it stay inside the commands, so that `--help` starts fast.
# ruff: noqa: PLC0415

log = logging.getLogger(__name__)

RunFolder = Annotated[Path, typer.Argument(help="Run directory, as written by `dsva train`.", show_default=False)]
Images = Annotated[
    list[str],
    typer.Argument(help="Image files, folders, shard sets, or keys of the run's own shard set.", show_default=False),
]
Head = Annotated[HeadName, typer.Option(help="Which head decides.")]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", help="Candidate: a class of the attribute table, or `seen` or `unseen`; give it once for each."),
]
Rows = Annotated[Path | None, typer.Option(help="JSON or CSV file of further classes: a strength for every attribute.")]
Described = Annotated[
    list[str] | None,
    typer.Option(
        "--new",
        help="New class, as `Name: description` or by a name that says it all; give it once for each. Its attributes come from "
        "the text, by the CLIP model of the attribute table or of --clip; or else by the attributes that the text names.",
    ),
]
Clip = Annotated[str | None, typer.Option(help="CLIP model that reads descriptions: a folder, or a hub id.")]


def explain(
    run_dir: RunFolder,
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and explanations.json.")] = Path("explained"),
    head: Head = "proto",
    classes: Classes = None,
    rows: Rows = None,
    new: Described = None,
    clip: Clip = None,
) -> None:
    """Show why images go to their classes: attention maps, region, and what each attribute adds to the score.

    The candidates are all classes of the run unless --class, --new or --rows says otherwise. Images that cannot be read are
    listed at the end, and the exit code is then 2.
    """
    from dsva.report.explained import explain_images

    viewer = _viewer(run_dir, head, classes, (rows, new, clip))
    explanations, unused = explain_images(viewer, images, out)
    known = [explanation for explanation in explanations if explanation.true in viewer.classifier.names]
    right = sum(explanation.predicted == explanation.true for explanation in known)
    for explanation in explanations:
        chosen = ", ".join(explanation.names[place] for place in explanation.deciding(3))
        of = f" (is {explanation.true})" if explanation.true not in ("", explanation.predicted) else ""
        voice.show(f"{explanation.image}: {explanation.predicted}{of}, by {chosen}")
    voice.show(f"{right} of {len(known)} images in folders of a candidate's name are right")
    voice.show(f"panels and explanations.json: {out}")
    leave_with(unused)


def predict(
    run_dir: RunFolder,
    images: Images,
    out: Annotated[Path | None, typer.Option(help="File for the predictions, .csv or .json; without it CSV is printed.")] = None,
    head: Head = "proto",
    classes: Classes = None,
    rows: Rows = None,
    new: Described = None,
    clip: Clip = None,
    top: Annotated[int, typer.Option(help="Candidates that are told for each image, best first.", min=1)] = 3,
) -> None:
    """Sort images into classes of the run, other classes of its attribute table, or new ones by description or row.

    The candidates are all classes of the run unless --class, --new or --rows says otherwise. Images that cannot be read are
    listed at the end, and the exit code is then 2.
    """
    if out and out.suffix not in (".csv", ".json"):
        raise UserError(f"--out {out} must end in .csv or .json: rename it")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is found now, not after the work

    from dsva.files import write_atomically
    from dsva.inference.predict import predict as predict_images

    made = predict_images(_viewer(run_dir, head, classes, (rows, new, clip)), images, top)
    if out:
        write_atomically(out, made.json() if out.suffix == ".json" else made.csv())
    else:
        sys.stdout.write(made.csv())
    known = [image for image in made.images if image.true in made.viewer.classifier.names]
    right = sum(image.true == image.ranked[0][0] for image in known)
    log.info(f"{len(made.images):,} images in {made.seconds:.1f} s, {made.speed:.0f} images/s")
    if known:
        log.info("%d of %d images in folders of a candidate's name are right", right, len(known))
    leave_with(made.unused)


def map_scene(
    run_dir: RunFolder,
    scene: Annotated[Path, typer.Argument(help="GeoTIFF with red, green and blue bands of 8 bits.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for classes.tif and classes.png.")] = Path("map"),
    window: Annotated[int, typer.Option(help="Side of what the model sees at a time, pixels of the scene.", min=16)] = 256,
    stride: Annotated[int, typer.Option(help="Step from window to window, and side of a cell of the map.", min=1)] = 128,
    head: Head = "proto",
    classes: Classes = None,
    rows: Rows = None,
    new: Described = None,
    clip: Clip = None,
) -> None:
    """Map a large GeoTIFF scene: windows slide over it, each cell gets the class that its windows favour.

    The candidates are as for `dsva predict`. World file, .aux.xml and mask beside the scene are heeded; it is said which bands
    are taken, and how the scene is placed.
    """
    from dsva.inference.scene import map_scene as write_map

    viewer = _viewer(run_dir, head, classes, (rows, new, clip))
    start = time.perf_counter()
    made = write_map(viewer, scene, out, window, stride)
    seconds = time.perf_counter() - start
    for name, share in made.shares().items():
        voice.show(f"{100 * share:5.1f} % {name}")
    voice.show(f"{made.windows:,} windows in {seconds:.1f} s, {made.windows / seconds:.0f} windows/s; written: {out}")


def report(
    run_dir: Annotated[
        Path, typer.Argument(help="Run directory, as written by `dsva train`, or the folder of a sweep.", show_default=False)
    ],
    images: Annotated[int, typer.Option(help="Explained images of each unseen class, half right and half wrong.", min=2)] = 4,
) -> None:
    """Write report.html: figures, curves, confusions, explanations and provenance of a scored run on one page.

    Of a sweep: its table beside the published figures, what became of each run, and their curves over one another.
    """
    from dsva.report.build import write_report
    from launch.sweep.plan import MANIFEST
    from launch.sweep.report import report_sweep

    page = report_sweep(run_dir) if (run_dir / MANIFEST).is_file() else write_report(run_dir, images)
    voice.show(f"written: {page}")


def _viewer(
    run_dir: Path,
    head: HeadName,
    classes: list[str] | None,
    new: tuple[Path | None, list[str] | None, str | None],
) -> "Viewer":
    """Open the run, and say where the rows of new classes come from."""
    from dsva.inference.viewer import New, Viewer
    from dsva.protocol.separability import alike, listed

    rows, described, clip = new
    viewer = Viewer.open(run_dir, head, classes or [], New(rows, described or (), clip))
    for name, text in viewer.made.items():
        log.info("%s: %s", name, text)
    for equal in alike(viewer.classifier.rows.compared(viewer.classifier.rows.values).cpu().numpy(), viewer.classifier.names):
        log.warning("%s have equal rows: no score can tell these classes apart", listed(equal))
    return viewer


def leave_with(unused: Unused) -> None:
    """Tell what was no image, and list the images that could not be used; leave with exit code 2 if there are any."""
    if unused.ignored:
        log.info("no images: %s", told(unused.ignored))
    for image in unused.bad:
        log.warning("not used: %s %s", image.name, image.reason)
    if unused.bad:
        raise typer.Exit(MISTAKE)
