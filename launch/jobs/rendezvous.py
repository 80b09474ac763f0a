"""Where a process stands among those of its job, and where they meet."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dsva.files import write_atomically
from dsva.processes.environment import number, position
from shards.errors import UserError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore

START, LIMIT = "DSVA_START", 600.0
FIRST_PORT, TRIES = 15000, 20
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True)
class Worker:
    """One process among those of a job.

    Attributes:
        rank: of this process.
        world_size: number of processes.
        local_rank: of this process among those on its node.
        job: that it belongs to; an array's tasks have one each. Keeps its name when it is requeued.
        start: of the job; every start has a name of its own.
    """

    rank: int
    world_size: int
    local_rank: int
    job: str
    start: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read what srun or `launch.jobs.local` say; one process alone where they say nothing.

        Raises:
            UserError: what is left of others, such as WORLD_SIZE=2, makes no sense.
        """
        if "SLURM_PROCID" in environment and "SLURM_JOB_ID" in environment and START not in environment:
            array = environment.get("SLURM_ARRAY_JOB_ID")
            job = f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else environment["SLURM_JOB_ID"]
            # A batch script itself is no step, and alone.
            rank, size, local = (number(environment, f"SLURM_{name}", default) for name, default in _STEP.items())
            return cls(rank, size, local, job, f"{job}-{environment.get('SLURM_RESTART_COUNT', '0')}")
        start = environment.get(START, f"{socket.gethostname()}-{os.getpid()}")
        return cls(*position(environment), start, start)


_STEP = {"PROCID": "0", "STEP_NUM_TASKS": "1", "LOCALID": "0"}


def meet(place: Worker, folder: Path, environment: MutableMapping[str, str], seconds: float = LIMIT) -> "TCPStore | None":
    """Tell torch where the processes of the job meet: at a store that rank 0 opens here and now.

    Nobody can take the port between choosing and using it, as the store listens on it from the start; the others read
    the address from a file. A name that only Slurm knows is no trouble either.

    Args:
        place: of this process.
        folder: shared by all of them.
        environment: gets torch's variables, `os.environ` in use.
        seconds: after which a missing rank 0 is given up.

    Returns:
        On rank 0 the store, to be kept until the end.

    Raises:
        UserError: rank 0 does not appear.
    """
    if place.world_size == 1:
        return None
    file = folder / f"meeting-{place.start}.json"
    store = None
    if place.rank == 0:
        store, port = _open_store(place)
        write_atomically(file, json.dumps({"host": socket.gethostname(), "port": port}) + "\n")
    else:
        _await(file, seconds)
    address = json.loads(file.read_text())
    gpus = len(list(filter(None, environment.get("CUDA_VISIBLE_DEVICES", "").split(","))))
    local = place.local_rank % gpus if gpus else place.local_rank
    environment.update({"RANK": f"{place.rank}", "WORLD_SIZE": f"{place.world_size}", "LOCAL_RANK": f"{local}"})
    environment.update({"MASTER_ADDR": address["host"], "MASTER_PORT": f"{address['port']}"})
    # torchrun's words for: the store is open already, only connect to it.
    environment.update({"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"})
    return store


def ports(start: str, below: int) -> Iterator[int]:
    """Yield ports to try: different for each start, and below those that the kernel hands out to connections."""
    for attempt in range(TRIES):
        number = int.from_bytes(hashlib.sha256(f"{start} {attempt}".encode()).digest()[:8], "big")
        yield FIRST_PORT + number % (below - FIRST_PORT)


def port_limit() -> int:
    """Return the first of the ports that this machine's kernel hands out to connections."""
    ephemeral = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.is_file() else 32768
    return max(ephemeral, FIRST_PORT + 1000)


def _open_store(place: Worker) -> "tuple[TCPStore, int]":
    from torch._C._distributed_c10d import TCPStore  # noqa: PLC0415 (torch is for several processes only)
    from torch.distributed import DistNetworkError  # noqa: PLC0415

    host, limit = socket.gethostname(), timedelta(seconds=60)
    for port in ports(place.start, port_limit()):
        try:
            return TCPStore(host, port, is_master=True, timeout=limit, wait_for_workers=False), port
        except DistNetworkError:
            continue
    raise UserError(f"{host}: none of {TRIES} ports from {FIRST_PORT} up could be opened: ask what listens there with `ss -ltn`")


def _await(file: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    # Listing the folder makes a network file system look afresh, where asking for the file may be told an old "no".
    while file.name not in os.listdir(file.parent):  # noqa: PTH208
        if time.monotonic() > end:
            raise UserError(
                f"rank 0 did not appear within {seconds:.0f} s: its output says why, or {file.parent} is not shared by the nodes"
            )
        time.sleep(0.1)
