"""`dsva pack` and `dsva shards ...`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from launch import voice
from launch.archive.actions import Spread, carry_out
from launch.archive.near_duplicates import near
from launch.archive.packing import Packing
from launch.archive.printing import print_findings, print_info, print_packed
from launch.archive.verifying import Verifying
from shards.description import read_description
from shards.errors import UserError
from shards.image_checks import MAX_PIXELS
from shards.pack import pack as pack_source
from shards.plan import Options
from shards.rebuild import rebuild
from shards.sources import open_source
from shards.verify import verify as verify_set

shards_app = typer.Typer(help="Look after packed shard sets.", no_args_is_help=True)
shards_app.command()(near)

SetFolder = Annotated[Path, typer.Argument(help="Folder of the shard set.", show_default=False)]
Workers = Annotated[int, typer.Option(help="Processes; on Slurm, of each job.", min=1, max=256)]
Cluster = Annotated[Literal["local", "slurm"], typer.Option("--cluster", help="Here, or as a job array on Slurm.")]
Jobs = Annotated[int, typer.Option(help="On Slurm: tasks of the job array, at most.", min=1, max=1000)]
Defaults = Annotated[Path | None, typer.Option(help="On Slurm: the cluster's own values, a file as in configs/cluster/.")]
Partition = Annotated[str | None, typer.Option(help="On Slurm: as Slurm means it.")]
Wait = Annotated[bool, typer.Option("--wait", help="On Slurm: stay until the jobs have ended.")]


def pack(
    source: Annotated[
        Path, typer.Argument(help="Class folders, CSV or Parquet table, WebDataset folder, or a published .mat file.")
    ],
    target: Annotated[Path, typer.Argument(help="New folder for the shard set.")],
    workers: Workers = 2,
    shard_mib: Annotated[int, typer.Option(help="Size that shards are cut at, MiB.", min=1, max=65536)] = 256,
    resize: Annotated[int | None, typer.Option(help="Scale shorter sides to this many pixels.", min=16, max=8192)] = None,
    max_pixels: Annotated[int, typer.Option(help="Refuse images with more pixels.", min=1)] = MAX_PIXELS,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable images out instead of failing.")] = False,
    images: Annotated[Path | None, typer.Option(help="Folder of the class folders, for a .mat file.")] = None,
    split_number: Annotated[int, typer.Option(help="Which of the .mat files' splits.", min=0)] = 0,
    level: Annotated[
        int | None, typer.Option(help="Level of the class folders below the source, if it is not found.", min=1)
    ] = None,
    where: Cluster = "local",
    jobs: Jobs = 16,
    defaults: Defaults = None,
    partition: Partition = None,
    wait: Wait = False,
) -> None:
    """Pack images into WebDataset tar shards with an index.

    Original bytes are kept unless --resize is given. The same input gives the same bytes whatever the number of
    workers, here or on a cluster, and an interrupted pack continues where it was.
    """
    opened = open_source(source, images, split_number, level, skip_bad=skip_bad)
    options = Options(shard_mib << 20, resize, max_pixels)
    if where == "slurm":
        spread = Spread(jobs, workers, defaults, partition, wait)
        carry_out(Packing(opened, target, options, skip_bad), spread)
    else:
        packed = pack_source(opened, target, workers=workers, skip_bad=skip_bad, **asdict(options))
        print_packed(packed)


@shards_app.command()
def verify(
    folder: SetFolder,
    workers: Workers = 2,
    where: Cluster = "local",
    jobs: Jobs = 16,
    defaults: Defaults = None,
    partition: Partition = None,
    wait: Wait = False,
    notes: Annotated[Path | None, typer.Option(help="On Slurm: folder for findings; without it FOLDER.verifying.")] = None,
) -> None:
    """Check every byte of a shard set; exit code 2 if anything is damaged."""
    if where == "local":
        print_findings(folder, verify_set(folder, workers))
        return
    try:
        description = read_description(folder)
    except UserError as error:
        print_findings(folder, [str(error)])
    else:
        carry_out(Verifying(folder, description, notes), Spread(jobs, workers, defaults, partition, wait))


@shards_app.command()
def info(folder: SetFolder) -> None:
    """Show what a shard set holds."""
    print_info(folder)


@shards_app.command()
def index(
    folder: SetFolder,
    workers: Workers = 2,
    level: Annotated[int | None, typer.Option(help="Level of the class folders in the tars, if it is not found.", min=1)] = None,
) -> None:
    """Build the index of a shard set, or of any WebDataset, from its tars alone."""
    made = rebuild(folder, level=level, workers=workers)
    voice.show(f"{folder}: index of {len(made):,} images in {len(made.shards)} shards")
