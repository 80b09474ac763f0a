"""Processes of this project that are started here, by `python -m`."""

import os
from collections.abc import Mapping
from pathlib import Path

import launch


def this_code(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `python -m` runs this very code, whatever lies in the current folder: `shards`, say."""
    path = os.pathsep.join(filter(None, [str(Path(str(launch.__file__)).parents[1]), environment.get("PYTHONPATH")]))
    return {**environment, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
