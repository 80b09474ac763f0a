"""A mistake that one rank meets is told by all: those that only see it go would tell of a closed connection."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsva.files import read_object
from dsva.run_directory import REFUSED
from shards.errors import UserError


@contextmanager
def mistakes_of_all(folder: Path, start: str, rank: int) -> Iterator[None]:
    """Let the other ranks know of a UserError; turn what follows from another rank's into that, so that all exit with its code.

    Args:
        folder: of the run, which all ranks see.
        start: of the run, the same for all ranks and no other's.
        rank: of this process.

    Raises:
        UserError: this rank's, or the one that another rank has left word of.
    """
    file = folder / REFUSED
    try:
        yield
    except UserError as error:
        with suppress(OSError):  # a full disk may be the very mistake
            beside = folder / f"{REFUSED}.{rank}"
            beside.write_text(json.dumps({"start": start, "why": str(error)}))
            beside.replace(file)
        raise
    except Exception:
        with suppress(OSError):
            os.listdir(folder)  # noqa: PTH208 (makes a network file system look afresh)
        told = read_object(file)
        if told.get("start") == start:
            raise UserError(str(told.get("why"))) from None
        raise
