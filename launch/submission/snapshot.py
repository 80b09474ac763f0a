"""The code of a job as it was when the job was submitted: editing the checkout changes nothing that is queued."""

import json
import shutil
from pathlib import Path

import dsva
import launch
import shards
from dsva.files import room_for, write_atomically
from dsva.provenance.code import SNAPSHOT, code_diff, code_version

PACKAGES = (shards, dsva, launch)


def take(folder: Path) -> Path:
    """Copy the three packages into the new folder `folder`, with their commit and uncommitted changes; return it."""
    for package in PACKAGES:
        source = Path(str(package.__file__)).parent
        for file in sorted(source.rglob("*")):
            copy = folder / file.relative_to(source.parent)
            if file.is_file() and "__pycache__" not in file.parts:
                with room_for(copy):
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, copy)
    write_atomically(folder / SNAPSHOT, json.dumps({"version": code_version(), "diff": code_diff()}, indent=1) + "\n")
    return folder
