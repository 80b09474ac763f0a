"""Small files that are either the old ones or the new ones, never half written."""

import errno
import os
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # what the system says where there is no room


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file in one step; a crash leaves the old one."""
    beside = path.with_name(f".{path.name}.writing")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
