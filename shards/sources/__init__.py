"""Where images come from: class folders, a table, a WebDataset, or the authors' .mat files."""

from pathlib import Path

from shards.errors import UserError
from shards.sources.folders import ClassFolders
from shards.sources.matfiles import MatFiles, find_mat_files
from shards.sources.records import Source
from shards.sources.tables import Table
from shards.sources.tar_files import is_webdataset
from shards.sources.tars import WebDataset

__all__ = ["open_source"]


def open_source(
    path: Path | str,
    images: Path | str | None = None,
    split_number: int = 0,
    level: int | None = None,
    *,
    skip_bad: bool = False,
) -> Source:
    """Return the source that a path is.

    Args:
        path: a folder with class folders in or below it, a .csv or .parquet table, a folder of
            WebDataset tars, or one of the authors' two .mat files.
        images: the folder of the class folders, for .mat files; the files' own folder if not given.
        split_number: which of the .mat files' splits.
        level: of the class folders below `path` or in its tars, 1 for the outermost; None finds it.
        skip_bad: take what is whole of tars that are damaged.

    Raises:
        UserError: it does not exist or is nothing that can be packed.
    """
    path = Path(path)
    kind = path.suffix.lower()
    kinds = "give a folder of class folders or of tars, a .csv or .parquet table, or a .mat file"
    if kind != ".mat" and (images is not None or split_number):
        raise UserError(f"{path} is no .mat file: an images folder or a split number is for .mat files only")
    if level is not None and (not path.is_dir()):
        raise UserError(f"{path} is no folder: --level is for folders and tars only, leave it out")
    if path.is_dir():
        if is_webdataset(path):
            return WebDataset(path, level, skip_bad)
        return ClassFolders(path, level)
    if not path.is_file():
        raise UserError(f"{path} does not exist: {kinds}")
    if kind in (".csv", ".parquet"):
        return Table(path)
    if kind == ".mat":
        root = Path(images) if images else path.parent
        if not root.is_dir():
            raise UserError(f"{root} is not a folder: give the folder of the class folders")
        return MatFiles(*find_mat_files(path), root, split_number)
    raise UserError(f"{path} is no source of images: {kinds}")
