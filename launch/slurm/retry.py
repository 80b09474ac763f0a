"""Asking Slurm again where it does not answer for a moment: its controller is restarted now and then."""

import logging
import subprocess
import time
from collections.abc import Callable

from shards.errors import UserError

log = logging.getLogger(__name__)

PAUSE = 5.0


def retry(ask: Callable[[], object], seconds: float = 60) -> bool:
    """Call `ask` until it does not fail; return whether it succeeded within some seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            ask()
        except (subprocess.SubprocessError, OSError, UserError) as error:
            log.warning("%s: trying again for %.0f s", error, max(0, end - time.monotonic()))
            if time.monotonic() > end:
                return False
            time.sleep(PAUSE)
        else:
            return True
