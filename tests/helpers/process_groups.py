"""Runs of several real processes, which find each other as torchrun's do, and die, hang or meet bad pixels at chosen moments.

Run as a program, this is the process that they are forked from: it has imported DeepSpeed as well.
"""

import ctypes
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import Tensor

from shards.loader import Batch
from tests.helpers.fork_server import Command, ForkServer, serve

FILE_LIMIT = "FILE_LIMIT"  # bytes that a file in a checkpoints folder can have
SLOW = "SLOW"  # seconds that every change in a checkpoints folder takes
DIES_AT = "DIES_AT"  # number of the change in a checkpoints folder before which a process kills itself
POISONED = "POISONED"  # places in the sample order, comma-separated, whose pixels become NaN on the last rank
HANGS_AT = "HANGS_AT"  # place in the sample order at which the last rank hangs
HANGS_IN = "HANGS_IN"  # "beginning", before the first step, or "evaluation": where the last rank hangs
HOLDS_INTERPRETER = "HOLDS_INTERPRETER"  # it hangs without letting any thread of Python run
SIGNAL_IN_EVALUATION = "SIGNAL_IN_EVALUATION"  # number of the evaluated batch at which the last rank is sent SIGUSR2
IN_CHECKPOINTS = re.compile("/checkpoints/[.]?(step|best)-")
CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link")


@dataclass
class Group:
    """The processes of one run, by rank."""

    ranks: list[Command]

    def wait(self) -> list[int]:
        """Return the ranks' exit codes."""
        return [command.wait() for command in self.ranks]

    def succeed(self) -> str:
        """Wait for a run that ends well; return what rank 0 printed."""
        codes = self.wait()
        assert codes == [0] * len(codes), "\n".join(command.output for command in self.ranks)
        return self.ranks[0].output


class GroupServer(ForkServer):
    """Starts groups of processes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "process_groups")

    def group(
        self,
        world_size: int,
        *arguments: object,
        dies: Mapping[int, int] | None = None,
        environment: Mapping[str, object] | None = None,
    ) -> Group:
        """Start `dsva ARGUMENTS` in so many processes, of which some die before the given change in the checkpoints."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        together = {"WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if world_size > 1 else {}
        ranks = []
        for rank in range(world_size):
            own: dict[str, object] = {"RANK": rank, "LOCAL_RANK": rank} if world_size > 1 else {}
            if dies and rank in dies:
                own[DIES_AT] = dies[rank]
            ranks.append(self.start(*arguments, **together, **own, **(environment or {})))
        return Group(ranks)


def disturb_steps() -> None:
    """Let the processes forked from this one meet NaN, or hang, at the places in the sample order that the environment names."""
    from dsva.evaluation import evaluate
    from dsva.pixels import training_pixels
    from dsva.train import engine_choice as engines
    from dsva.train import trainer

    accumulate, decide, build = trainer.Trainer._accumulate, evaluate._decide, engines.build_engine
    decided = 0

    def last() -> bool:
        return os.environ.get("RANK", "0") == str(int(os.environ.get("WORLD_SIZE", "1")) - 1)

    def places(name: str) -> list[int]:
        return [int(place) for place in os.environ.get(name, "").split(",") if place and last()]

    def hangs_in(place: str) -> bool:
        return os.environ.get(HANGS_IN) == place and last()

    def poisoned(*given: Any) -> Tensor:
        return training_pixels(*given) * float("nan")

    def hanging(*_: Any) -> Tensor:
        # Functions that PyDLL calls do not let go of the interpreter.
        ctypes.PyDLL(None).sleep(1000) if HOLDS_INTERPRETER in os.environ else time.sleep(1000)
        raise AssertionError("it is ended before")

    def disturbed(self: trainer.Trainer, batch: Batch, piece: slice) -> dict[str, Tensor]:
        place = self._order.by + batch.step
        faulty = poisoned if place in places(POISONED) else hanging if place in places(HANGS_AT) else training_pixels
        with patch("dsva.train.trainer.training_pixels", faulty):
            return accumulate(self, batch, piece)

    def signalled(*given: Any) -> Any:
        nonlocal decided
        decided += 1
        if decided in places(SIGNAL_IN_EVALUATION):
            os.kill(os.getpid(), signal.SIGUSR2)
        return hanging() if hangs_in("evaluation") else decide(*given)

    def built(*given: Any) -> Any:
        return hanging() if hangs_in("beginning") else build(*given)

    patch("dsva.evaluation.evaluate._decide", signalled).start()
    patch("dsva.train.trainer.build_engine", built).start()
    patch("dsva.train.trainer.Trainer._accumulate", disturbed).start()


def disturb() -> None:
    """Make this process, and those forked from it, die or find the disk full or slow where the environment says so."""
    changes = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        if event not in CHANGES or not IN_CHECKPOINTS.search(str(arguments[0])):
            return
        if FILE_LIMIT in os.environ:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ[FILE_LIMIT]), resource.RLIM_INFINITY))
        time.sleep(float(os.environ.get(SLOW, "0")))
        if DIES_AT in os.environ:
            changes += 1
            if changes > int(os.environ[DIES_AT]):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    os.environ["DS_ACCELERATOR"] = "cpu"
    # What is imported here need not be imported by every child: DeepSpeed would for ZeRO, and with it torch's compiler.
    import deepspeed
    import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401

    disturb()
    disturb_steps()
    serve()
