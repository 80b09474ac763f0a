"""set.json: the classes, splits, shards and hashes of a shard set."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.files import file_sha256, has_control, replace_with

# A set in which some JPEG or PNG is turned as its orientation tag says has another format, so that older versions, which do
# not turn them, refuse it; and sets of the first format, packed by those, stay as they were.
FORMAT, TURNED_FORMAT = 1, 2
INDEX, KEYS, SET, MADE = "index.bin", "keys.txt", "set.json", "made.json"
MAX_JSON_BYTES = 256 << 20
_NAMES = ("classes", "splits")
_TEXTS = (INDEX, KEYS, "digest")


@dataclass(frozen=True)
class Shard:
    """One tar of a set: file name, bytes, number of samples, sha256 in hexadecimal."""

    name: str
    size: int
    samples: int
    sha256: str


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
    if not _is_count(described.get("format")) or described["format"] not in (FORMAT, TURNED_FORMAT):
        read = f"{FORMAT} and {TURNED_FORMAT}"
        raise UserError(f"{root / SET} has format {described.get('format')!r}, this version reads {read}: {mend}")
    if not _is_description(described):
        raise UserError(f"{root / SET} does not describe a shard set: {mend}")
    classes, splits = (tuple(described[name]) for name in _NAMES)
    shards = tuple(Shard(**shard) for shard in described["shards"])
    index_sha256, keys_sha256, digest = (described[name] for name in _TEXTS)
    return Description(classes, splits, shards, index_sha256, keys_sha256, digest, described.get("turned", 0))


def _is_description(described: dict[str, Any]) -> bool:
    # A digest proves that nothing changed, not that a stranger meant well.
    if not all(_is_names(described.get(name)) for name in _NAMES) or not all(_is_text(described.get(name)) for name in _TEXTS):
        return False
    if described["splits"][0]:  # the first is that of images without one
        return False
    if (described["format"] == TURNED_FORMAT) != ("turned" in described) or not _is_count(described.get("turned", 0)):
        return False
    shards = described.get("shards")
    if not (isinstance(shards, list) and shards and all(map(_is_shard, shards))):
        return False
    tars = [shard["name"] for shard in shards]
    samples = described.get("samples")
    return len(set(tars)) == len(tars) and _is_count(samples) and samples == sum(shard["samples"] for shard in shards) > 0


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not has_control(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48  # not True, which is an int too


def _is_shard(shard: Any) -> bool:
    return (
        isinstance(shard, dict)
        and shard.keys() == Shard.__dataclass_fields__.keys()
        and _is_text(shard["sha256"])
        and _is_text(shard["name"])
        and Path(shard["name"]).name == shard["name"]  # no path out of the folder
        and all(_is_count(shard[count]) for count in ("size", "samples"))
    )
