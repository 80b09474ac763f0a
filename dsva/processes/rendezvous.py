"""Where the processes of a run meet: addresses, ports and torch's variables for them are chosen here and nowhere else.

torchrun chooses for itself, and so may whoever sets MASTER_ADDR and MASTER_PORT. In a job of `dsva submit`, rank 0 opens a store
and tells the others by a file, see `meet`. Tasks of srun alone reckon the same address each, see `from_slurm`. Where ranks were set
by hand on one machine, torch's own port does, see `HERE`.
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dsva.files import write_atomically
from dsva.processes.environment import Position, SlurmStep, first_host
from shards.errors import UserError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore

HERE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
LIMIT = 600.0  # seconds that rank 0 may take to appear
FIRST_PORT, TRIES = 15000, 20
KERNEL = 32768  # Linux hands the ports from here on out to connections, where nobody has told it otherwise
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def ports(start: str, below: int = KERNEL) -> Iterator[int]:
    """Yield ports to try: different for each start, and below those that the kernel hands out to connections."""
    for attempt in range(TRIES):
        number = int.from_bytes(hashlib.sha256(f"{start} {attempt}".encode()).digest()[:8], "big")
        yield FIRST_PORT + number % (below - FIRST_PORT)


def port_limit() -> int:
    """Return the first of the ports that this machine's kernel hands out to connections."""
    ephemeral = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.is_file() else KERNEL
    return max(ephemeral, FIRST_PORT + 1000)


def meet(
    position: Position, start: str, folder: Path, environment: MutableMapping[str, str], seconds: float = LIMIT
) -> "TCPStore | None":
    """Tell torch where the processes of a job meet: at a store that rank 0 opens here and now.

    Nobody can take the port between choosing and using it, as the store listens on it from the start; the others read
    the address from a file. A name that only Slurm knows is no trouble either.

    Args:
        position: of this process.
        start: the same for all processes of this start of the job, and no other's.
        folder: shared by all of them.
        environment: gets torch's variables, `os.environ` in use.
        seconds: after which a missing rank 0 is given up.

    Returns:
        On rank 0 the store, to be kept until the end.

    Raises:
        UserError: rank 0 does not appear.
    """
    if position.world_size == 1:
        return None
    file = folder / f"meeting-{start}.json"
    store = None
    if position.rank == 0:
        store, port = _open_store(start)
        write_atomically(file, json.dumps({"host": socket.gethostname(), "port": port}) + "\n")
    else:
        _await(file, seconds)
    address = json.loads(file.read_text())
    gpus = len(list(filter(None, environment.get("CUDA_VISIBLE_DEVICES", "").split(","))))
    environment.update(_variables(position, gpus, address["host"], address["port"]))
    # torchrun's words for: the store is open already, only connect to it.
    environment.update({"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"})
    return store


def from_slurm(environment: Mapping[str, str], gpus: int) -> dict[str, str]:
    """Return torch's variables for a task of srun; nothing elsewhere, or where a launcher of torch's has set them.

    Args:
        environment: of this process; an address or a port that a batch script has chosen is kept.
        gpus: that this process sees.

    Raises:
        UserError: a part of what srun says is missing, or makes no sense.
    """
    launched = "RANK" in environment and "WORLD_SIZE" in environment
    if launched or not (step := SlurmStep.of(environment)):
        return {}
    host = environment.get("MASTER_ADDR") or first_host(step.nodes)
    # Not below this machine's own limit: all nodes must come to the same.
    return _variables(step.position, gpus, host, environment.get("MASTER_PORT") or next(ports(step.name)))


def _variables(position: Position, gpus: int, host: str, port: int | str) -> dict[str, str]:
    """Return torch's variables for a process that sees so many GPUs: one of its own is number 0 on every rank."""
    rank, world_size, local = position
    ranks = {"RANK": f"{rank}", "WORLD_SIZE": f"{world_size}", "LOCAL_RANK": f"{local % gpus if gpus else local}"}
    return {**ranks, "MASTER_ADDR": host, "MASTER_PORT": f"{port}"}


def _open_store(start: str) -> "tuple[TCPStore, int]":
    from torch._C._distributed_c10d import TCPStore  # noqa: PLC0415 (torch is for several processes only)
    from torch.distributed import DistNetworkError  # noqa: PLC0415

    host, limit = socket.gethostname(), timedelta(seconds=60)
    for port in ports(start, port_limit()):
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
