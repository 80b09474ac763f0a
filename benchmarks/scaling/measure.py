"""What steps, exchanges, images and checkpoints cost on this machine, in one process and in two.

Run as a module this is one of the ranks, which `python -m benchmarks.scaling --measure SHARDS` starts.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from benchmarks.scaling.model import BUCKET
from benchmarks.together import Together
from dsva.config import Config, load
from dsva.processes.joining import set_environment
from dsva.processes.ranks import Ranks
from dsva.protocol.experiment import Experiment
from dsva.run_directory import CHECKPOINTS
from dsva.runs.checkpoint import newest
from dsva.train.phases import Phases
from dsva.train.trainer import Trainer

CONFIG = Path(__file__).parents[2] / "configs" / "aid_25_5.yaml"
SIZES = ["model.width=384", "model.layers=12", "model.heads=6", "model.mlp=1536", "data.workers=1"]
IMAGES = (4, 16)  # of a process in a step: two points give what a step costs at all and what each image adds
STEPS = 7  # of which the first is not counted


def measure(overrides: list[str]) -> None:
    """Measure as one of the ranks; rank 0 prints a JSON object."""
    config = load(CONFIG, overrides)
    experiment = Experiment.open(config)
    with set_environment(os.environ):
        _measure(config, experiment)


def _measure(config: Config, experiment: Experiment) -> None:
    ranks = Ranks(config.train.precision)
    trainer = Trainer(experiment, ranks, Phases(ranks.device))
    reduced: list[int] = []
    if isinstance(trainer.engine.model, DistributedDataParallel):

        def counted(state: None, bucket: Any) -> torch.futures.Future[torch.Tensor]:
            reduced.append(bucket.buffer().nbytes)
            assert dist.group.WORLD is not None
            return allreduce_hook(dist.group.WORLD, bucket)

        trainer.engine.model.register_comm_hook(None, counted)
    seconds, read, images = [], 0, 0
    batches = trainer.batches()
    for _ in range(STEPS):
        batch = next(batches)
        read, images = read + int(experiment.shards.records["length"][batch.ids].sum()), images + len(batch.ids)
        ranks.barrier()
        started = time.perf_counter()
        trainer.step(batch)
        ranks.barrier()
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    trainer.save(STEPS)
    saved = time.perf_counter() - started
    exchange = _all_reduce(sum(reduced) // STEPS)
    if ranks.rank == 0:
        checkpoint, _ = newest(config.run.dir / CHECKPOINTS)
        assert checkpoint
        found = {
            "step": statistics.median(seconds[1:]),
            "reduced_bytes": sum(reduced) // STEPS,
            "all_reduce": exchange,
            "read_bytes": read / images,
            "parameters": sum(p.numel() for p in trainer.engine.plain.parameters()),
            "checkpoint_bytes": sum(file.stat().st_size for file in checkpoint.path.iterdir()),
            "save": saved,
        }
        print(json.dumps(found), flush=True)
    ranks.barrier()
    ranks.close()


def _all_reduce(size: int) -> float:
    """Return the median time to reduce `size` bytes over all ranks, bucket by bucket."""
    if not size:
        return 0.0
    seconds = []
    for _ in range(5):
        buckets = [torch.ones(min(BUCKET, size - start) // 4) for start in range(0, size, BUCKET)]
        dist.barrier()
        started = time.perf_counter()
        for bucket in buckets:
            dist.all_reduce(bucket)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure_layouts(shards: Path) -> dict[str, Any]:
    """Return, for each number of images of a process: it alone, each of two that know nothing of each other, and two under DDP."""
    rows = []
    for images in IMAGES:
        given = [*SIZES, f"data.shards={shards}"]
        alone, module = [*given, f"data.batch_size={images}"], "benchmarks.scaling.measure"
        row: dict[str, Any] = {"images": images, "alone": Together(module, 1, alone).answer()}
        pair = [Together(module, 1, alone) for _ in range(2)]
        row["beside"] = max((one.answer() for one in pair), key=lambda answer: float(answer["step"]))
        row["two"] = Together(module, 2, [*given, f"data.batch_size={2 * images}"]).answer()
        rows.append(row)
    return {"rows": rows}


if __name__ == "__main__":
    measure(sys.argv[2:])
