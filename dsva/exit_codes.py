"""Exit codes: what those who start processes may conclude from how one ends.

0 to 2 are those of every command; whoever starts a run again (`launch.slurm.requeue`, the batch files in slurm/) leaves it at
these, and looks at the reason that the run has noted otherwise.
"""

import signal

DONE = 0
FAULT = 1  # ours, or one that may go away by itself
MISTAKE = 2  # what only a person can mend; a sentence says how
OVERTAKEN = 75  # another process has taken the run up
HUNG = 76  # the run got no further
_SIGNALLED = 128  # plus a signal's number: saved and stopped by it, or dead of it
# 255 is submitit's: Slurm was asked to start the job again.


def stopped_by(number: int) -> int:
    """Return the exit code of a process that signal `number` has stopped."""
    return _SIGNALLED + number


def signal_of(code: int) -> signal.Signals | None:
    """Return the signal that an exit code speaks of; None where it speaks of none."""
    try:
        return signal.Signals(code - _SIGNALLED)
    except ValueError:
        return None


def of_child(returncode: int) -> int:
    """Return the exit code of a process from what `subprocess` says of it, which is negative where it died of a signal."""
    return stopped_by(-returncode) if returncode < 0 else returncode
