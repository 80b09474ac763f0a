"""Asking Slurm again where it does not answer for a moment: its controller is restarted now and then."""

import subprocess
import sys
import time
from collections.abc import Callable

from shards.errors import UserError

PAUSE = 5.0


def retry(ask: Callable[[], object], seconds: float = 60) -> bool:
    """Call `ask` until it does not fail; return whether it succeeded within some seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            ask()
        except (subprocess.SubprocessError, OSError, UserError) as error:
            print(f"{error}: trying again for {max(0, end - time.monotonic()):.0f} s", file=sys.stderr, flush=True)
            if time.monotonic() > end:
                return False
            time.sleep(PAUSE)
        else:
            return True
