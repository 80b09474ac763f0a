"""The jobs: what is typed, in which order, by how many processes."""

from dataclasses import dataclass, replace
from typing import Literal

# How each command is spelled: the first spelling that a checkout knows is taken, so that an older and a newer one can be compared.
COMMANDS: dict[str, tuple[str, ...]] = {
    "pack": ("pack",),
    "verify": ("shards verify",),
    "near": ("shards near",),
    "index": ("shards index",),
    "build": ("attributes build",),
    "import": ("attributes import",),
    "train": ("train",),
    "choose": ("choose",),
    "ablate": ("ablate",),
    "sweep": ("sweep start",),
    "table": ("sweep table",),
    "eval": ("eval",),
    "export": ("checkpoint export",),
    "predict": ("predict",),
    "explain": ("explain",),
    "map": ("map",),
}


@dataclass(frozen=True)
class Job:
    """One command line.

    Attributes:
        name: of the job.
        command: a key of COMMANDS, and what follows it; paths are relative to the side's folder.
        processes: that run it together, as torchrun would start them.
        saved: file that what it prints is saved to, if that is a result.
        interrupted: send SIGTERM when this file is there, and give the same command again.
    """

    name: str
    command: str
    processes: Literal[1, 2] = 1
    saved: str = ""
    interrupted: str = ""


def _run(name: str, changes: str = "", processes: Literal[1, 2] = 1, config: str = "base", folder: str = "runs") -> Job:
    return Job(name, f"train {config}.yaml run.dir=out/{folder}/{name} {changes}", processes)


# Every term and part that the main recipe is without.
MIXED = (
    "model.regions=true train.precision=bf16 train.ema=0.9 train.accumulation=2 train.heads_only_steps=4 loss.label_smoothing=0.1 "
    "model.prototype_bias=true loss.group_main=1e-4 loss.group_proto=1e-4 model.gradient_checkpointing=true run.async_save=true"
)
PICTURES = "images/GreenDots images/BrownBlocks images/BlueStripes/bluestripes_00.jpg"
ENGINES = ("ddp", "fsdp2", "zero1", "zero2", "zero3")
ONE: Literal[1] = 1
TWO: Literal[2] = 2

# Jobs of one stage do not need one another.
STAGES: tuple[tuple[Job, ...], ...] = (
    (
        Job("pack folders", "pack images out/sets/folders --shard-mib 1"),
        Job("pack table", "pack table.csv out/sets/table --resize 40 --skip-bad --workers 1"),
        Job("pack tars", "pack tars out/sets/tars --shard-mib 1"),
        Job("index out/foreign", "index out/foreign"),
        Job("import", "import attributes.json out/tables/imported.json"),
    ),
    (
        Job("verify", "verify out/sets/folders"),
        Job("near", "near out/sets/folders --out out/near --shown 0"),
        Job(
            "build text",
            "build --clip clip --vocabulary vocabulary.yaml --classes splits.json --split a --out out/tables/text.json",
        ),
        Job(
            "build images",
            "build --clip clip --vocabulary vocabulary.yaml --classes splits.json --split a --shards out/sets/folders "
            "--mode seen-images --out out/tables/images.json",
        ),
    ),
    (
        *(_run(f"{engine}-{n}", f"train.engine={engine}", n) for engine in ENGINES for n in (ONE, TWO)),
        *(_run(f"mixed-{engine}-2", f"train.engine={engine} {MIXED}", TWO) for engine in ENGINES if engine != "zero1"),
        _run("regions", "model.regions=true"),
        _run("reference", config="reference"),
        _run("bf16", "train.precision=bf16"),
        _run("ema", "train.ema=0.9 data.block_shards=1"),
        _run("accumulation", "train.accumulation=3"),
        _run("smoothing", "loss.label_smoothing=0.1 classes.seen_test_share=0 classes.exclude_near=4"),
        _run("clip", "model.backbone=clip classes.attributes=out/tables/text.json train.heads_only_steps=12"),
        _run("validation", "validation.partition=0 validation.every=4"),
        _run("own", "data.shards=out/sets/table classes.splits=null classes.split=own"),
        _run("left", "run.keep=2"),
        # Long after step 4, so that the signal comes before the end.
        replace(_run("stopped", "train.steps=60"), interrupted="out/runs/stopped/checkpoints/step-00000004"),
        Job("choose", "choose base.yaml run.dir=out/choose train.steps=6 --vary optimizer.lr=1e-3,3e-3"),
        Job("ablate", "ablate base.yaml run.dir=out/ablate train.steps=6 eval.gamma=0.5"),
        Job("sweep", "sweep sweep.yaml out/sweep --cluster local"),
    ),
    (
        Job("sweep table", "table out/sweep --as csv", saved="out/sweep.csv"),
        Job("eval", "eval out/runs/ema eval.validation_run=out/runs/validation"),
        Job("export", "export out/runs/regions out/exported"),
        Job("predict", f"predict out/runs/regions {PICTURES} --rows rows.json --class unseen --out out/predicted.csv"),
        Job("predict words", f'predict out/runs/clip {PICTURES} --new "Pond: water and small dots" --out out/words.json'),
        Job("explain", f"explain out/runs/regions {PICTURES} --out out/explained"),
        Job("map", "map out/runs/ddp-1 scene.tif --class unseen --out out/map"),
    ),
    # Runs that OLD has left: out/old/ is a copy of OLD's, on both sides.
    (
        _run("cut", "data.shards=out/old/set run.keep=2", folder="old"),
        _run("cut-zero3", "data.shards=out/old/set run.keep=2 train.engine=zero3", TWO, folder="old"),
        Job("old eval", "eval out/old/run data.shards=out/old/set eval.gamma=0.5"),
        Job("old export", "export out/old/run out/old/exported"),
    ),
)
