"""Where images come from: class folders, a table, a WebDataset, or the authors' .mat files."""

from pathlib import Path

from shards.errors import UserError
from shards.sources.folders import ClassFolders
from shards.sources.records import Source


def open_source(path: Path | str) -> Source:
    """Return the source that a path is.

    Raises:
        UserError: it does not exist or is nothing that can be packed.
    """
    path = Path(path)
    if path.is_dir():
        return ClassFolders(path / "images" if (path / "images").is_dir() else path)
    raise UserError(f"{path} does not exist")
