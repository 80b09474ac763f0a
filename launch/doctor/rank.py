"""One of the processes that try an all-reduce: `python -m launch.doctor.rank FOLDER` prints what it measured as JSON.

They meet and form their group as the processes of a run do.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from dsva.exit_codes import MISTAKE
from dsva.processes.joining import join, set_environment
from dsva.processes.rendezvous import meet
from launch.jobs.worker import Worker
from shards.errors import UserError

NUMBERS, ROUNDS = 1 << 22, 5  # 16 MiB


def measure() -> dict[str, Any]:
    """Reduce, compare with what must come out, and take the time of all ranks' clocks after a barrier."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    seconds, spreads, right = [], [], True
    for _ in range(ROUNDS):
        values = torch.full((NUMBERS,), rank + 1.0, device=device)
        dist.barrier()
        now = torch.tensor([time.time()], dtype=torch.float64, device=device)
        start = time.perf_counter()
        dist.all_reduce(values)
        right = right and bool((values == ranks * (ranks + 1) / 2).all())
        seconds.append(time.perf_counter() - start)
        clocks = [torch.zeros_like(now) for _ in range(ranks)]
        dist.all_gather(clocks, now)
        spreads.append(float(max(clocks) - min(clocks)))
    # The best round: the others tell how long processes waited for a processor, too.
    return {
        "ranks": ranks,
        "backend": dist.get_backend(),
        "right": right,
        "seconds": min(seconds),
        "mebibytes": NUMBERS * 4 / 2**20,
        "spread": min(spreads),
    }


def main(folder: str, seconds: str) -> None:
    """Meet the others within some seconds, measure and print."""
    try:
        worker = Worker.of(os.environ)
        store = meet(worker.position, worker.start, Path(folder), os.environ, float(seconds))
        with set_environment(os.environ):
            join(os.environ, alone=False)
            measured = measure()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(MISTAKE)
    print(json.dumps(measured), flush=True)
    dist.barrier()
    dist.destroy_process_group()
    del store


if __name__ == "__main__":
    main(*sys.argv[1:])
