"""Processes whose launcher dies save and leave, instead of training on unseen."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

TORCHRUN = "TORCHELASTIC_RUN_ID"  # set by torchrun and `accelerate launch` for the processes that they start
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


@contextmanager
def leaving_with_launcher(environment: Mapping[str, str]) -> Iterator[None]:
    """Have the kernel send this process SIGUSR2, at which it saves and leaves, should torchrun die during the block.

    torchrun hands on SIGTERM, SIGINT, SIGHUP and SIGQUIT; it dies of SIGUSR2, which Slurm and schedulers send, of SIGUSR1 and
    SIGKILL, and would leave its processes behind.
    """
    if TORCHRUN not in environment or sys.platform != "linux":
        yield
        return
    ask = ctypes.CDLL(None).prctl
    ask(SET_PARENT_DEATH_SIGNAL, signal.SIGUSR2, 0, 0, 0)
    if os.getppid() == 1:  # it has died before
        os.kill(os.getpid(), signal.SIGUSR2)
    try:
        yield
    finally:
        ask(SET_PARENT_DEATH_SIGNAL, 0, 0, 0, 0)
