"""Images as a user gives them, to be looked at rather than trained on: files, folders, shard sets, keys of a set, pictures.

A bad image among them is no mistake that stops the rest: it is handed over with the reason.
"""

import os
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shards.decode import Pixels, decode_into, square
from shards.description import SET
from shards.errors import UserError
from shards.formats.ifd import ORIENTATION
from shards.image_checks import EXTENSIONS, MAX_PIXELS, BadImage, check_size, inspect, to_rgb, turned
from shards.index import ShardSet
from shards.loader import Reader
from shards.sources.records import size_refusal
from shards.sources.walk import told, walk

AHEAD = 2  # batches that are read while one is in use
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # of Pillow: 8 bits, and what `dsva pack` takes
Given = str | Path | Image.Image | NDArray[np.uint8]
_one_by_one = threading.Lock()  # Pillow decodes a picture when it is first used, which two threads must not do at once


@dataclass(frozen=True, eq=False)
class UserImage:
    """One image.

    Attributes:
        name: as it was given or found: a path, or a key of a shard set; of a picture, its place among what was given.
        filed_under: name of the folder or class that it lies in.
        path: of the file, or of the shard set.
        shards: the shard set, for a sample of one.
        sample: its id there.
        picture: itself, where it was given as one; `path` then means nothing.
    """

    name: str
    filed_under: str
    path: Path
    shards: ShardSet | None = None
    sample: int = 0
    picture: Image.Image | None = None


@dataclass(frozen=True)
class Bad:
    """An image that cannot be used, and why; the reason follows the name in a sentence."""

    name: str
    reason: str


@dataclass
class Unused:
    """What was given and is not used.

    Attributes:
        bad: images that cannot be.
        ignored: how many files of which kind are no images, in the folders given.
    """

    bad: list[Bad] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class UserBatch:
    """Images that were read together.

    Attributes:
        images: the good ones, in the order given.
        pixels: RGB, [len(images), side, side, 3].
        bad: the others.
    """

    images: Sequence[UserImage]
    pixels: Pixels
    bad: Sequence[Bad]


def find(given: Sequence[Given], own: ShardSet | None, unused: Unused) -> list[UserImage]:
    """Find what was given: an image file, a shard set, a folder of images (with all below it), a key of `own`, or a picture.

    Args:
        given: names, or pictures: of Pillow, or RGB or grey values as uint8 [H, W, 3] or [H, W].
        own: shard set of the run, if there is one.
        unused: gets what in the folders is no image.

    Raises:
        UserError: a name is none of these, a folder holds no image, or a picture is of a kind that is not read.
    """
    keys: dict[str, int] = {}
    found: list[UserImage] = []
    for place, each in enumerate(given):
        if not isinstance(each, str | Path):
            found.append(_picture(f"images[{place}]", each))
            continue
        if not str(each):
            raise UserError("an image's name is empty: give a file, a folder or a key, and . for the current folder")
        name, path = str(each), Path(each)
        if (path / SET).is_file():
            found += _samples(ShardSet.open(path))
        elif path.is_dir():
            found += _below(path, unused)
        elif path.is_file():
            found.append(_file(path))
        else:
            keys = keys or {own.key(sample): sample for sample in range(len(own))} if own else {}
            if own is None or name not in keys:
                key = f", no folder and no key of {own.root}" if own else " and no folder"
                raise UserError(f"{name} is no image file{key}: give one of them")
            found.append(_sample(own, keys[name]))
    return found


def _picture(name: str, given: Image.Image | NDArray[np.uint8]) -> UserImage:
    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8 or given.shape[2:] not in ((), (3,)) or given.ndim < 2:
            shown = f"{given.dtype} {list(given.shape)}"
            raise UserError(f"{name} is an array of {shown}: give RGB or grey values as uint8 [H, W, 3] or [H, W]")
        given = Image.fromarray(given)
    if not isinstance(given, Image.Image):
        raise UserError(f"{name} is a {type(given).__name__}: give the path of an image, a picture of Pillow or an array")
    if given.mode not in MODES:
        raise UserError(f"{name} is a picture of mode {given.mode}: convert it to 8-bit RGB")
    return UserImage(name, "", Path(), picture=given)


def _below(folder: Path, unused: Unused) -> list[UserImage]:
    images: list[UserImage] = []
    for each in walk(folder):
        images += [_file(folder / path) for path in each.images]
        unused.bad += [Bad(f"{folder}/{refused.path}", refused.reason) for refused in each.refused]
        unused.ignored += each.ignored
    if not images:
        hint = f": it holds tars, so make it a shard set with `dsva shards index {folder}`" if any(folder.glob("*.tar")) else ""
        only = f", only {told(unused.ignored)}" if unused.ignored else ""
        raise UserError(f"{folder} holds no image ({', '.join(EXTENSIONS)}){only}{hint or ': give another folder'}")
    return images


def _file(path: Path) -> UserImage:
    return UserImage(str(path), path.absolute().parent.name, path)


def _samples(shards: ShardSet) -> list[UserImage]:
    return [_sample(shards, sample) for sample in range(len(shards))]


def _sample(shards: ShardSet, sample: int) -> UserImage:
    return UserImage(shards.key(sample), shards.classes[int(shards.records["label"][sample])], shards.root, shards, sample)


def read(given: Sequence[UserImage], side: int, batch_size: int, workers: int) -> Iterator[UserBatch]:
    """Yield the images in batches of at most `batch_size`, scaled to squares of `side` pixels; threads read ahead."""
    with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
        sets = {id(image.shards): image.shards for image in given if image.shards}
        readers = {place: stack.enter_context(Reader(shards)) for place, shards in sets.items()}
        ahead: deque[tuple[Sequence[UserImage], Pixels, list[Future[Bad | None]]]] = deque()
        for start in range(0, len(given), batch_size):
            images = given[start : start + batch_size]
            pixels = np.empty((len(images), side, side, 3), np.uint8)
            tasks = [pool.submit(_decode, image, readers, out) for image, out in zip(images, pixels, strict=True)]
            ahead.append((images, pixels, tasks))
            if len(ahead) > AHEAD:
                yield _finished(*ahead.popleft())
        while ahead:
            yield _finished(*ahead.popleft())


def _finished(images: Sequence[UserImage], pixels: Pixels, tasks: Sequence[Future[Bad | None]]) -> UserBatch:
    outcomes = [task.result() for task in tasks]
    good = [place for place, bad in enumerate(outcomes) if bad is None]
    return UserBatch([images[place] for place in good], pixels[good], [bad for bad in outcomes if bad])


def _decode(image: UserImage, readers: dict[int, Reader], out: Pixels) -> Bad | None:
    try:
        if image.shards:
            readers[id(image.shards)].decode(image.sample, out)
        elif image.picture:
            _decode_picture(image.picture, out)
        else:
            _decode_file(image.path, out)
    except OSError as error:
        return Bad(image.name, f"cannot be read ({error.strerror or error})")
    except (ValueError, SyntaxError) as error:
        return Bad(image.name, str(error))
    return None


def _decode_picture(picture: Image.Image, out: Pixels) -> None:
    check_size(*picture.size, MAX_PIXELS)
    with _one_by_one:
        rgb = to_rgb(picture)
        told = picture.getexif().get(ORIENTATION, 1)  # of a TIFF there is none any more: Pillow has turned it
    out[:] = square(turned(rgb, told if told in range(1, 9) else 1), out.shape[0])


def _decode_file(path: Path, out: Pixels) -> None:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if reason := size_refusal(size):
            raise BadImage(reason)
        data = file.read(size)
    facts = inspect(data)  # refused as `dsva pack` refuses it
    decode_into(data, facts.width, facts.height, out)
