"""Small files that are either the old ones or the new ones, and files of lines whose last may be half written."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # what the system says where there is no room


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file in one step; a crash leaves the old one."""
    beside = path.with_name(f".{path.name}.writing")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one in JSON a line, but for what a kill or a full disk has left of others."""
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found
