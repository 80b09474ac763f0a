"""An existing WebDataset: a folder of tars, whose images are packed from where they lie in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shards.files import printable
from shards.sources.records import Found, Record, Refused, image_extension, refusal
from shards.sources.samples import ClassNames, Sample, samples


@dataclass(frozen=True)
class WebDataset:
    """A folder of plain tars, read in the order of their names."""

    root: Path
    kind: str = "WebDataset"

    @property
    def given(self) -> Path:
        """The folder."""
        return self.root

    def records(self) -> Iterator[Found]:
        """Yield the images in the order of the tars.

        The headers are read twice, since what a class is called depends on all samples.

        Raises:
            UserError: a tar is damaged, or not a plain one.
        """
        classes = ClassNames()
        for path in tar_files(self.root):
            for sample in samples(path):
                if isinstance(sample, Sample):
                    classes.add(sample.class_text, sample.folder)
        names = classes.names()
        for path in tar_files(self.root):
            stamp = path.stat().st_mtime_ns
            for sample in samples(path):
                yield _record(path.name, stamp, sample, names[sample.class_text]) if isinstance(sample, Sample) else sample


def _record(tar: str, stamp: int, sample: Sample, class_name: str) -> Found:
    key = f"{class_name}/{sample.key.removeprefix(f'{class_name}/')}"
    image = sample.image
    if reason := refusal(key, class_name, sample.split, image.size):
        return Refused(f"{tar}: {printable(sample.key)}", reason)
    return Record(key, class_name, sample.split, tar, image.offset, image.size, image_extension(image.name), stamp)


def tar_files(root: Path) -> list[Path]:
    """Return the tars directly in a folder, by name."""
    return sorted(path for path in root.glob("*.tar") if path.is_file())
