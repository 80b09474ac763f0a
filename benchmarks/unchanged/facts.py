"""What is compared: every file that the jobs have written, as facts by name; what is left out, and why.

A file that no rule names is compared byte by byte, so nothing that is new goes by unseen.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

Facts = dict[str, str | int | float | bool | None]  # by `FILE: PLACE`; the sha256 where the value is no single one

# Files that differ by nature, or are made for people's eyes: by the pattern of their paths, with the reason.
LEFT_OUT = {
    "*.png": "pictures for people",
    "*.html": "pages for people; the figures are in results.json",
    "*.md": "tables and cards for people, with dates and code; the figures are in results.json",
    "tensorboard/*": "times of the day; the figures are in metrics.jsonl",
    "config.yaml": "paths; results.json holds the configuration",
    "environment.json": "the machine and the code",
    "ended.json": "a sentence for people",
    "starts.jsonl": "times, host and code of every start; depends on when a signal came",
    "code/*": "uncommitted changes of the code",
    "job/*": "notes of what started a job: times, process numbers",
    "hangs/*": "stacks",
    ".lock": "empty",
    "COMPLETE": "sizes and hashes of files that are compared themselves",
}
_RESULTS = {
    "provenance.date": "the day",
    "provenance.code": "what is being compared",
    "provenance.cost": "times and memory of the machine",
    "provenance.device": "the machine",
    "provenance.packages": "the machine",
}
_TIMES = ("interval_seconds", "images_per_second", "data_wait_share", "tflops", "seconds", "slowest")
# Keys of JSON files that differ by nature, by the pattern of the file and the beginning of the place; the first that fits.
KEYS_LEFT_OUT = {
    "old/*/results.json": {**_RESULTS, "warnings": "name the code of OLD and of NEW"},
    "results.json": _RESULTS,
    "exported/config.json": {"source.code": "what is being compared"},
    "metrics.jsonl": {**dict.fromkeys(_TIMES, "times"), "memory_mib": "the machine"},
}


def read_facts(folder: Path) -> Facts:
    """Return the facts of all files below a folder that the jobs have worked in."""
    facts: Facts = {}
    for file in sorted(path for path in (folder / "out").rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        if not any(_matches(name, pattern) for pattern in LEFT_OUT):
            facts |= {f"{name}: {place}": value for place, value in _read(file, str(folder)).items()}
    return facts


def _matches(name: str, pattern: str) -> bool:
    return any(Path(name).match(pattern) for name in (name, *map(str, Path(name).parents)))


def _read(file: Path, folder: str) -> Facts:
    """Return the facts of a file by their places in it: its bytes, unless keys are left out, and what its format tells apart."""
    content = file.read_bytes()
    if file.suffix == ".safetensors":
        return _tensors(content)
    # The folder differs between the sides, and stands in paths.
    content = content.replace(folder.encode(), b"FOLDER")
    left_out: Mapping[str, str] = next((keys for pattern, keys in KEYS_LEFT_OUT.items() if file.match(pattern)), {})
    whole = () if left_out else (("bytes", sha256(content).hexdigest()),)
    if file.suffix == ".json":
        found = chain(whole, _leaves(json.loads(content)))
    elif file.suffix == ".jsonl":
        lines = [dict(_leaves(json.loads(line))) for line in content.splitlines()]
        columns = dict.fromkeys(key for line in lines for key in line)
        found = chain(whole, ((key, _hash([line.get(key) for line in lines])) for key in columns))
    else:
        found = chain(whole)
    return {place: value for place, value in found if not place.startswith(tuple(left_out))}


def _tensors(content: bytes) -> Facts:
    """Hash the tensors of a safetensors file, each with its type and shape, and the file where its order is fixed."""
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    noted = header.pop("__metadata__", {})
    facts: Facts = {f"metadata.{key}": value for key, value in noted.items()}
    if len(noted) < 2:  # more of them the package writes in random order
        facts["bytes"] = sha256(content).hexdigest()
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        facts[name] = sha256(f"{tensor['dtype']} {tensor['shape']} ".encode() + data[begin:end]).hexdigest()
    return facts


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the single values of a JSON tree by their dotted places; a list is one, by its hash."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{place}.{key}" if place else key)
    else:
        yield place, _hash(value) if isinstance(value, list) else value


def _hash(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
