"""Engines x processes: step time, memory of a rank, checkpoint size, seconds to save and to load, as a markdown table.

    python -m benchmarks.engines SHARDS [--layouts ddp:1,zero2:2] [section.key=value ...]

trains configs/aid_25_5.yaml with a ViT-S shape (22 million weights) for a few steps in each layout, in fresh processes.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

from benchmarks.together import Together
from dsva.config import Config, load
from dsva.processes.joining import set_environment
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.run_directory import CHECKPOINTS
from dsva.runs.checkpoint import OPTIMIZER, newest
from dsva.train.deepspeed_zero import deepspeed_settings
from dsva.train.phases import Phases
from dsva.train.trainer import Trainer

CONFIG = Path(__file__).parents[1] / "configs" / "aid_25_5.yaml"
SIZES = ["model.width=384", "model.layers=12", "model.heads=6", "model.mlp=1536", "data.batch_size=16"]
LAYOUTS = "ddp:1,ddp:2,ddp:4,zero1:2,zero1:4,zero2:2,zero2:4,zero3:2,zero3:4,fsdp2:2,fsdp2:4"
STEPS = 6  # of which the first is not counted
HEADER = "| engine | processes | step, s | memory a rank, MiB | checkpoint, MiB | save, s | load, s |"


def measure(overrides: list[str]) -> None:
    """Measure one layout as one of its ranks; rank 0 prints a JSON object."""
    config = load(CONFIG, overrides)
    experiment = Experiment.open(config)
    with set_environment(os.environ, deepspeed=config.train.engine.startswith("zero")):
        _measure(config, experiment)


def _measure(config: Config, experiment: Experiment) -> None:
    ranks = Ranks(config.train.precision, deepspeed=deepspeed_settings(config))
    trainer = Trainer(experiment, ranks, Phases(ranks.device))
    seconds, started = [], time.perf_counter()
    for batch in trainer.batches():
        trainer.step(batch)
        ranks.barrier()
        seconds.append(time.perf_counter() - started)
        if len(seconds) == STEPS:
            break
        started = time.perf_counter()
    on_gpu = ranks.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    memory = max(ranks.all_gather(peak))
    started = time.perf_counter()
    trainer.save(STEPS)
    saved = time.perf_counter() - started
    model = experiment.build_model()
    ranks.barrier()
    started = time.perf_counter()
    checkpoint, _ = newest(config.run.dir / CHECKPOINTS)
    assert checkpoint
    checkpoint.restore_weights(model, mean=False)
    trainer.engine.restore_moments(checkpoint.tensors(OPTIMIZER))
    ranks.barrier()
    loaded = time.perf_counter() - started
    if ranks.rank == 0:
        size = sum(file.stat().st_size for file in checkpoint.path.iterdir())
        row = {"step": statistics.median(seconds[1:]), "memory": memory, "size": size, "save": saved, "load": loaded}
        print(json.dumps(row), flush=True)
    ranks.barrier()
    ranks.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--layouts", default=LAYOUTS)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    print(HEADER + "\n|:--|--:|--:|--:|--:|--:|--:|", flush=True)
    for layout in arguments.layouts.split(","):
        engine, processes = layout.split(":")
        given = [*SIZES, f"data.shards={arguments.shards}", f"train.engine={engine}", *arguments.overrides]
        row = Together("benchmarks.engines", int(processes), given).answer()
        mib = {name: row[name] / 2**20 for name in ("memory", "size")}
        sizes = f"{mib['memory']:,.0f} | {mib['size']:,.0f}"
        print(f"| {engine} | {processes} | {row['step']:.2f} | {sizes} | {row['save']:.2f} | {row['load']:.2f} |", flush=True)


if __name__ == "__main__":
    measure(sys.argv[2:]) if sys.argv[1:2] == ["--rank"] else main()
