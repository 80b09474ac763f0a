"""What bad steps have done to a run's course: a part of its checkpoints, from which its batches follow."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=0, lt=1 << 62)]


@dataclass(frozen=True)
class Course:
    """What bad steps have done to a run.

    Attributes:
        skipped: bad steps that count, or counted lately, against the budget, in order.
        rollbacks: how often the run went back.
        shift: batches of the sample order that were passed over so far.
    """

    skipped: tuple[Count, ...] = ()
    rollbacks: Count = 0
    shift: Count = 0

    def sound(self, step: int, window: int) -> int:
        """Return the last step up to `step` whose checkpoint has met no bad step of the last `window` steps."""
        return min((bad for bad in self.skipped if bad > step - window), default=step)

    def back_at(self, step: int, failed: int) -> "Course":
        """Return the course after going back to `step` because of what the steps up to `failed` met."""
        return Course((), self.rollbacks + 1, self.shift + failed + 1 - step)
