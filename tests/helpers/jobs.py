"""Reading what a job wrote."""

from typing import Any

from launch.jobs.folder import JobFolder


def note(folder: JobFolder, name: str) -> dict[str, Any]:
    """One of the small JSON files of a job's folder, which has to be there."""
    found = folder.read(name)
    assert found, f"{folder.path / name} is not there"
    return found
