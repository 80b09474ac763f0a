"""All checks, each in a process of its own with a time limit: whatever hangs or crashes, there is an answer.

`python -m launch.doctor.checks NAME JSON` carries out one and prints its finding as JSON.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from dsva.processes.environment import node_name
from launch.doctor import disk, gpus, net, packages, reduce, shard_set
from launch.doctor.finding import Asked, Finding
from shards.errors import UserError

AT_ONCE = 4
SHARE = "give --folder one that is shared and that you may write to; if it hangs, its server does not answer"


@dataclass(frozen=True)
class Check:
    """A check, the seconds it has, and what to do where it has no answer."""

    function: Callable[[Asked], Finding]
    limit: float
    mend: str


CHECKS = {
    "python": Check(packages.python, 30, "install this project: pip install -c constraints.txt ."),
    "packages": Check(packages.packages, 30, "install this project: pip install -c constraints.txt ."),
    "driver": Check(gpus.driver, 40, "the driver hangs or is damaged: this node has to be restarted"),
    "cuda": Check(gpus.cuda, 120, "the driver hangs or is damaged: this node has to be restarted"),
    "copies between GPUs": Check(gpus.peers, 180, "set NCCL_P2P_DISABLE=1 for every run, and update the driver"),
    "all-reduce": Check(reduce.all_reduce, reduce.LIMIT + 20, reduce.MEND),
    "renames": Check(disk.rename, 30, SHARE),
    "locks": Check(disk.locks, 30, SHARE),
    "write speed": Check(disk.speed, 60, SHARE),
    "clock": Check(disk.clock, 30, SHARE),
    "ports": Check(net.open_ports, 30, "let the machine's name lead to it: a line in /etc/hosts, or DNS"),
    "shards": Check(shard_set.shard_set, 60, "give the folder that `dsva pack` made, on a file system that this node sees"),
}


def carry_out(name: str, asked: Asked) -> Finding:
    """Carry out one check in this process."""
    try:
        found = CHECKS[name].function(asked)
    except (OSError, UserError) as error:
        found = Finding(name, "FAIL", str(error), CHECKS[name].mend)
    return replace(found, node=node_name())


def carry_out_within(name: str, asked: Asked, limit: float | None = None) -> Finding:
    """Carry out one check in a process of its own, which has `limit` seconds."""
    seconds = limit or CHECKS[name].limit
    command = [sys.executable, "-m", "launch.doctor.checks", name, json.dumps(asdict(asked))]
    [ended] = reduce.run_within(seconds, [command], [os.environ])
    if ended.code is None:
        return Finding(name, "FAIL", f"no answer within {seconds:.0f} s", CHECKS[name].mend, node_name())
    if ended.code:
        said = (ended.complained.splitlines() or [f"exit code {ended.code}"])[-1]
        return Finding(name, "FAIL", f"the check broke off: {said}", CHECKS[name].mend, node_name())
    return Finding(**json.loads(ended.printed.splitlines()[-1]))


def examine(asked: Asked, without: Sequence[str] = ()) -> list[Finding]:
    """Carry out all checks on this machine, but some; a set of shards is looked at where one is given."""
    names = [name for name in CHECKS if name not in without and (name != "shards" or asked.shards)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda name: carry_out_within(name, asked), names))


def clean(folder: str) -> None:
    """Remove a folder, unless its file system hangs."""
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(["rm", "-rf", "--", folder], timeout=20, check=False)


if __name__ == "__main__":
    print(json.dumps(asdict(carry_out(sys.argv[1], Asked(**json.loads(sys.argv[2]))))))
