"""What a checkpoint says of itself: its files, its step, and whose it is. One schema, for all who read one; needs no torch.

COMPLETE                        the other files with their sizes and sha256; written last
state.json                      step, run and whatever else is no tensor
rank-RRRRR-of-WWWWW.safetensors  the tensors that each rank wrote
"""

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dsva.runs.course import Count, Course
from shards.files import printable

COMPLETE, STATE = "COMPLETE", "state.json"
PREFIX, BEST = "step-", "best-"
MAX_BYTES = 16 << 20  # of COMPLETE and of state.json
_DIGITS = re.compile("[0-9]{8,18}")

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]  # can be shown as it is
Kind = Literal["model", "optimizer", "ema"]
Schema = TypeVar("Schema", bound=BaseModel)


class DamagedError(Exception):
    """A checkpoint is not as it was written; the message says what is wrong with it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FileFacts(_Part):
    """Size in bytes and hash of a file."""

    size: Count
    sha256: Sha256


class Complete(_Part):
    """What COMPLETE holds; `digest` is the sha256 of its own list of files."""

    files: dict[str, FileFacts]
    digest: Sha256

    @classmethod
    def of(cls, files: dict[str, FileFacts]) -> Self:
        """Describe the files of a checkpoint."""
        text = json.dumps({name: facts.model_dump() for name, facts in files.items()}, indent=1)
        return cls(files=files, digest=hashlib.sha256(text.encode()).hexdigest())

    def text(self) -> str:
        """Return it as it is written."""
        return json.dumps(self.model_dump(), indent=1) + "\n"

    @property
    def tensors(self) -> list[str]:
        """The names of the files with tensors, by rank."""
        return sorted(name for name in self.files if name != STATE)

    @model_validator(mode="after")
    def _of_all_ranks(self) -> Self:
        ranks = self.tensors
        if STATE not in self.files or not ranks or ranks != [rank_file(rank, len(ranks)) for rank in range(len(ranks))]:
            raise ValueError(f"the files are not {STATE} and one of each rank")
        return self


class LeftOut(_Part):
    """A frozen backbone that is not saved: where it came from, and the hash of its weights."""

    backbone: Text
    sha256: Sha256


class State(_Part):
    """What state.json holds.

    Attributes:
        format: 1 where `config` and `tensors` are missing: it does not say of which run it is.
        step: optimizer steps that were taken.
        score: on the validation classes, where they were looked at.
        config: of the run, by section and key, what decides what is computed.
        inputs: digests of what the run is trained on, by their configuration keys.
        world_size: processes that wrote it.
        engine: that they had.
        left_out: what is not saved because it never moves.
        owes_validation: whether the validation after `step` was cut short by a signal.
        course: what bad steps have done to the run.
        tensors: how many there are of each kind.
    """

    format: Literal[1, 2] = 1
    step: Count
    score: float | None
    config: dict[str, dict[str, Any]] | None = None
    inputs: dict[Text, Text]
    world_size: Annotated[int, Field(ge=1, lt=1 << 31)]
    engine: Text
    left_out: LeftOut | None
    owes_validation: bool = False
    course: Course = Course()
    tensors: dict[Kind, Count] | None = None

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.format > 1 and (self.config is None or self.tensors is None):
            raise ValueError("config or tensors are missing")
        return self


class Named(NamedTuple):
    """A checkpoint by its name only, complete or not."""

    step: int
    path: Path


def folder_name(prefix: str, step: int) -> str:
    """Return the name of the folder of a step's checkpoint."""
    return f"{prefix}{step:08d}"


def rank_file(rank: int, world_size: int) -> str:
    """Return the name of the file that a rank writes."""
    return f"rank-{rank:05d}-of-{world_size:05d}.safetensors"


def stored(folder: Path, prefix: str = PREFIX) -> list[Named]:
    """Return the checkpoints in a folder by their names, the newest first, complete or not."""
    found = []
    for path in folder.glob(f"{prefix}*"):
        digits = path.name.removeprefix(prefix)
        # `step-²` is no number, and `step-7` no name that is ever written.
        if _DIGITS.fullmatch(digits) and folder_name(prefix, int(digits)) == path.name:
            found.append(Named(int(digits), path))
    return sorted(found, reverse=True)


def described(path: Path) -> tuple[Complete, State]:
    """Read what the checkpoint in the folder `path` says of itself; its tensors are not looked at.

    Raises:
        DamagedError: a part of that is missing, damaged, or of another step than the folder's name says.
    """
    if not path.is_dir():
        raise DamagedError("it is no folder")
    text = _read(path / COMPLETE)
    complete = _checked(Complete, COMPLETE, text)
    if complete.text().encode() != text or Complete.of(complete.files) != complete:
        raise DamagedError(f"{COMPLETE} was changed")
    content, facts = _read(path / STATE), complete.files[STATE]
    if len(content) != facts.size or hashlib.sha256(content).hexdigest() != facts.sha256:
        raise DamagedError(f"{STATE} is missing or damaged")
    state = _checked(State, STATE, content)
    if path.name not in (folder_name(prefix, state.step) for prefix in (PREFIX, BEST)):
        raise DamagedError(f"it holds step {state.step} and was renamed")
    return complete, state


def extras(path: Path, complete: Complete) -> list[str]:
    """Return the names of what lies in a checkpoint's folder and is not of it; hidden files are not counted."""
    return sorted(
        entry.name for entry in path.iterdir() if entry.name not in (COMPLETE, *complete.files) and not entry.name.startswith(".")
    )


def _read(path: Path) -> bytes:
    try:
        # What is a pipe or a device does not hold the reader up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DamagedError(f"{path.name} is no file")
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DamagedError(f"it has no {path.name}") from None
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read ({error.strerror})") from None
    if len(content) > MAX_BYTES:
        raise DamagedError(f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    return content


def _checked(kind: type[Schema], name: str, content: bytes) -> Schema:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = printable(".".join(str(part) for part in first["loc"])[:100])
        raise DamagedError(f"{name} is damaged ({f'{place}: ' if place else ''}{first['msg']})") from None
