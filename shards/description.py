"""set.json: the classes, splits, shards and hashes of a shard set."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError, model_validator

from shards.errors import UserError
from shards.files import file_sha256, has_control, replace_with, without_control

# A set in which some JPEG or PNG is turned as its orientation tag says has another format, so that older versions, which do
# not turn them, refuse it; and sets of the first format, packed by those, stay as they were.
FORMAT, TURNED_FORMAT = 1, 2
INDEX, KEYS, SET, MADE = "index.bin", "keys.txt", "set.json", "made.json"
MAX_JSON_BYTES = 256 << 20


def _plain(text: str) -> str:
    if has_control(text):
        raise ValueError("it has a control character")
    return text


def _inside(name: str) -> str:
    if Path(name).name != name:
        raise ValueError("it is no name of a file in the folder")
    return name


def _different(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice")
    return names


_Text = Annotated[str, Field(strict=True), AfterValidator(_plain)]
_Names = Annotated[list[_Text], FailFast(), Field(min_length=1), AfterValidator(_different)]
_Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 48)]


@dataclass(frozen=True)
class Shard:
    """One tar of a set: file name, bytes, number of samples, sha256 in hexadecimal."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: Annotated[_Text, AfterValidator(_inside)]
    size: _Count
    samples: _Count
    sha256: _Text


@dataclass(frozen=True)
class Description:
    """What set.json says; see `shards.index.ShardSet`. `turned` counts images that are turned upright by an orientation tag."""

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    shards: tuple[Shard, ...]
    index_sha256: str
    keys_sha256: str
    digest: str
    turned: int


class _Content(BaseModel):
    """A set.json; its digest proves that nothing was changed, but not that a stranger meant well."""

    format: _Count
    turned: _Count = 0
    samples: Annotated[_Count, Field(gt=0)]
    classes: _Names
    splits: _Names
    shards: Annotated[list[Shard], FailFast(), Field(min_length=1)]
    index_sha256: Annotated[_Text, Field(alias=INDEX)]
    keys_sha256: Annotated[_Text, Field(alias=KEYS)]
    digest: _Text

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _different([shard.name for shard in self.shards])
        if self.splits[0]:
            raise ValueError("splits do not begin with that of images without one")
        if (self.format == TURNED_FORMAT) != ("turned" in self.model_fields_set):
            raise ValueError("turned does not go with the format")
        if self.samples != sum(shard.samples for shard in self.shards):
            raise ValueError("samples are not those of the shards")
        return self


def json_digest(described: dict[str, Any]) -> str:
    """Return the sha256 of a JSON object, apart from its own field `digest`."""
    plain = {name: value for name, value in described.items() if name != "digest"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_digested(path: Path, described: dict[str, Any]) -> str:
    """Write a JSON object with its digest added, and return the digest."""
    digest = json_digest(described)
    replace_with(path, _text({**described, "digest": digest}))
    return digest


def _text(described: dict[str, Any]) -> bytes:
    return (json.dumps(described, indent=1) + "\n").encode()


def read_digested(path: Path) -> dict[str, Any]:
    """Read a JSON object and check its own digest.

    Raises:
        UserError: missing, too large, not JSON, or changed since it was written.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{path} is larger than {MAX_JSON_BYTES >> 20} MiB")
        data = path.read_bytes()
        described = json.loads(data)
        # The digest does not cover spaces and escapes: the very bytes that `write_digested` writes are asked for.
        if not isinstance(described, dict) or described.get("digest") != json_digest(described) or data != _text(described):
            raise UserError(f"{path} was changed or damaged after it was written")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error})") from None
    return described


def write_description(
    root: Path, classes: Iterable[str], splits: Iterable[str], shards: Iterable[Shard], samples: int, turned: int = 0
) -> str:
    """Write set.json for the index.bin and keys.txt in `root`; return the set's digest."""
    described: dict[str, Any] = {
        **({"format": TURNED_FORMAT, "turned": turned} if turned else {"format": FORMAT}),
        "samples": samples,
        "classes": list(classes),
        "splits": list(splits),
        "shards": [vars(shard) for shard in shards],
        INDEX: file_sha256(root / INDEX),
        KEYS: file_sha256(root / KEYS),
    }
    return write_digested(root / SET, described)


def read_description(root: Path) -> Description:
    """Read the set.json of a set.

    Raises:
        UserError: missing, not JSON, changed since it was written, of another format, or not what a set.json says.
    """
    if not (root / SET).is_file():
        raise UserError(
            f"{root} is not a shard set (it has no {SET}): pack images with `dsva pack IMAGES {root}`, "
            f"or give WebDataset tars an index with `dsva shards index {root}`"
        )
    mend = f"rebuild it with `dsva shards index {root}`"
    try:
        described = read_digested(root / SET)
    except UserError as error:
        raise UserError(f"{error}: {mend}") from None
    if described.get("format") not in (FORMAT, TURNED_FORMAT):
        read = f"{FORMAT} and {TURNED_FORMAT}"
        raise UserError(f"{root / SET} has format {described.get('format')!r}, this version reads {read}: {mend}")
    try:
        content = _Content.model_validate(described)
    except ValidationError as error:
        first = error.errors()[0]
        place = without_control(".".join(map(str, first["loc"])))
        message = first["msg"].removeprefix("Value error, ")
        why = f"{place}: {message}" if place else message
        raise UserError(f"{root / SET} does not describe a shard set ({why}): {mend}") from None
    named, shards = (tuple(content.classes), tuple(content.splits)), tuple(content.shards)
    return Description(*named, shards, content.index_sha256, content.keys_sha256, content.digest, content.turned)
