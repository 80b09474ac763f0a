"""Processes of this project that are started here, by `python -m`."""

import os
from collections.abc import Mapping

from dsva.provenance.code import CHECKOUT


def this_code(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `python -m` runs this very code, whatever lies in the current folder: `shards`, say."""
    path = os.pathsep.join(filter(None, [str(CHECKOUT), environment.get("PYTHONPATH")]))
    return {**environment, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
