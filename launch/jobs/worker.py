"""Who a process of a job is: where it stands among the others, and of which start of which job."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from dsva.processes.environment import ALONE, Position, SlurmJob, SlurmStep, position

START = "DSVA_START"  # who starts processes outside of Slurm says here which start they belong to


@dataclass(frozen=True)
class Worker:
    """One process among those of a job.

    Attributes:
        position: its rank, the number of processes, and its rank among those on its node.
        job: that it belongs to; an array's tasks have one each. Keeps its name when it is requeued.
        start: of the job; every start has a name of its own.
    """

    position: Position
    job: str
    start: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read what srun or `launch.jobs.local` say; one process alone where they say nothing.

        Raises:
            UserError: what is left of others, such as WORLD_SIZE=2, makes no sense.
        """
        if (job := SlurmJob.of(environment)) and START not in environment:
            step = SlurmStep.of(environment)
            return cls(step.position if step else ALONE, job.name, f"{job.name}-{job.restarts}")
        start = environment.get(START, f"{socket.gethostname()}-{os.getpid()}")
        return cls(position(environment), start, start)

    @property
    def rank(self) -> int:
        """Rank among the processes of the job."""
        return self.position.rank
