"""The code of a job as it was when the job was submitted: editing the checkout changes nothing that is queued."""

import json
import shutil
from pathlib import Path

import dsva
import launch
import shards
from dsva.files import write_atomically
from dsva.zeroshot.results import SNAPSHOT, code_diff, code_version

PACKAGES = (shards, dsva, launch)


def take(folder: Path) -> Path:
    """Copy the three packages into the new folder `folder`, with their commit and uncommitted changes; return it."""
    for package in PACKAGES:
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    write_atomically(folder / SNAPSHOT, json.dumps({"version": code_version(), "diff": code_diff()}, indent=1) + "\n")
    return folder
