"""What may happen to a folder of checkpoints: damage, copies, renames, links, strangers' files, and states that were crafted."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.helpers.runs import tensors

Change = Callable[[random.Random, Path], object]


def checkpoint(rng: random.Random, folder: Path) -> Path:
    """One of the checkpoints in a folder; the newest more often than others."""
    there = sorted(folder.glob("step-*"))
    return there[-1] if rng.random() < 0.6 else rng.choice(there)


def file(rng: random.Random, folder: Path) -> Path:
    return rng.choice(sorted(checkpoint(rng, folder).iterdir()))


def seal(path: Path) -> None:
    """Describe a checkpoint's files anew, so that only what they hold can tell that they were changed."""
    names = [file.name for file in path.iterdir() if file.name != "COMPLETE"]
    facts = {name: (path / name).read_bytes() for name in sorted(names, key=lambda name: (name == "state.json", name))}
    files = {name: {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in facts.items()}
    digest = hashlib.sha256(json.dumps(files, indent=1).encode()).hexdigest()
    (path / "COMPLETE").write_text(json.dumps({"files": files, "digest": digest}, indent=1) + "\n")


def damage(rng: random.Random, folder: Path) -> None:
    path = file(rng, folder)
    content, place = path.read_bytes(), rng.randrange(path.stat().st_size)
    changed = bytes([content[place] ^ 1 << rng.randrange(8)])
    path.write_bytes(rng.choice([content[:place] + changed + content[place + 1 :], content[:place], content + b"\0", b""]))


def rename(rng: random.Random, folder: Path) -> None:
    path = checkpoint(rng, folder)
    target = path.with_name(rng.choice(["step-00000005", "step-00000060", "best-00000060", "step-00000002"]))
    if target != path:
        shutil.rmtree(target, ignore_errors=True)
        rng.choice([path.rename, lambda to: shutil.copytree(path, to)])(target)


def odd_name(rng: random.Random, folder: Path) -> None:
    names = ["step-²", "step-7", "step-00000009 (copy)", "step--0000001", "step-٠٠٠٠٠٠٠٩", "step-000000000060", "step-"]
    shutil.copytree(checkpoint(rng, folder), folder / rng.choice(names))


def not_a_folder(rng: random.Random, folder: Path) -> None:
    path = rng.choice([folder / "step-00000060", checkpoint(rng, folder)])
    shutil.rmtree(path, ignore_errors=True)
    rng.choice([path.touch, lambda: path.symlink_to("nowhere"), lambda: path.symlink_to(path.name), lambda: os.mkfifo(path)])()


def not_a_file(rng: random.Random, folder: Path) -> None:
    path = file(rng, folder)
    path.unlink()
    rng.choice([path.mkdir, lambda: path.symlink_to("/dev/zero"), lambda: path.symlink_to(path.name), lambda: os.mkfifo(path)])()


def remove(rng: random.Random, folder: Path) -> None:
    every = sorted(folder.glob("step-*"))
    for path in rng.choice([every, every[-1:], [file(rng, folder)], [folder]]):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def stranger(rng: random.Random, folder: Path) -> None:
    """A file that is not of a checkpoint, with other weights under the same names."""
    path = checkpoint(rng, folder)
    name = rng.choice(["zzz.safetensors", "rank-00001-of-00002.safetensors", "._rank-00000-of-00001.safetensors", "._state.json"])
    save_file({key: tensor + 1 for key, tensor in tensors(path).items()}, path / name)


def left_over(rng: random.Random, folder: Path) -> None:
    path = checkpoint(rng, folder)
    shutil.copytree(path, folder / f".{path.name}{rng.choice(['.writing', '.replaced', '.going'])}")


VALUES: tuple[object, ...] = (None, True, -1, 1.5, "6", float("nan"), 10**30, [], {}, [[]], "\x1b[2J", {"a": {"b": 1}})


def crafted_state(rng: random.Random, folder: Path) -> None:
    path = checkpoint(rng, folder)
    state: dict[str, Any] = json.loads((path / "state.json").read_text())
    wrong = {
        "step": VALUES,
        "inputs": (None, [], {}, {"data.shards": 1}, {key: "0" * 64 for key in state["inputs"]}),
        "config": (None, [], {"run": 1}, {"run": {"seed": 99}}, {"run": {"seed": "\x1b[2J"}}),
        "course": (None, 1, {"skipped": 1}, {"skipped": [-1]}, {"shift": -1}, {"rollbacks": "x"}, {"more": 1}),
        "format": (0, 3, "2", None),
        "left_out": (1, {}, {"backbone": "x", "sha256": "y"}),
        "owes_validation": (None, 1, "false"),
        "score": ("x", float("inf"), [], True),
        "tensors": (None, {"model": -1}, {"model": 1}, {"mode": 1}),
        "world_size": (0, -1, "x", None, 1 << 40),
        "engine": (None, 1, "\x1b[2J", "x" * 10_000),
        "more": (1,),
    }
    key = rng.choice(sorted(wrong))
    state[key] = rng.choice(wrong[key])
    text = json.dumps(state)
    if rng.random() < 0.3:
        text = rng.choice(["[" * 100_000, '{"a":' * 100_000, "", "[]", "null", "\xff", '{"step": ' + "9" * 100_000 + "}"])
    if rng.random() < 0.3 and len(text) > 2:
        del (gone := json.loads((path / "state.json").read_text()))[rng.choice(["step", "score", "inputs", "world_size", "config"])]
        text = json.dumps(gone)
    (path / "state.json").write_text(text)
    seal(path)


def crafted_tensors(rng: random.Random, folder: Path) -> None:
    path = checkpoint(rng, folder)
    held = tensors(path)
    (name,) = (file.name for file in path.glob("rank-*"))
    key = rng.choice(sorted(held))
    moment = rng.choice(sorted(key for key in held if key.endswith("/step")))
    kind = rng.choice(["optimizer/", "ema/", "model/"])

    def with_it(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
        return held | changes

    made = rng.choice([
        lambda: {other: tensor for other, tensor in held.items() if other != key},
        lambda: {other: tensor for other, tensor in held.items() if not other.startswith(kind)},
        lambda: with_it(**{key: held[key].reshape(-1, 1)}),
        lambda: with_it(**{key: held[key].double()}),
        lambda: with_it(**{key + "x": held[key]}),
        lambda: with_it(**{f"evil/{key}": held[key]}),
        lambda: with_it(**{moment: torch.tensor(rng.choice([float("nan"), -1.0, 0.0, 1e9, 1.5]))}),
    ])()  # fmt: skip
    save_file({other: tensor.clone() for other, tensor in made.items()}, path / name)
    if rng.random() < 0.3:
        content = (path / name).read_bytes()
        header = b'{"model/w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
        garbage = [b"", content[:20], (1 << 60).to_bytes(8, "little") + content[8:], len(header).to_bytes(8, "little") + header]
        (path / name).write_bytes(rng.choice(garbage))
    seal(path)


def crafted_list(rng: random.Random, folder: Path) -> None:
    path = checkpoint(rng, folder)
    facts: dict[str, Any] = json.loads((path / "COMPLETE").read_text())
    name = rng.choice(sorted(facts["files"]))
    made: list[Any] = [
        [], {"files": 5, "digest": 5}, {"files": {}, "digest": ""}, {**facts, "files": {}}, {**facts, "more": 1},
        {**facts, "files": {**facts["files"], "../../config.yaml": facts["files"][name]}},
        {**facts, "files": {**facts["files"], name: {"size": 10**40, "sha256": "0" * 64}}},
        {**facts, "files": {**facts["files"], name: {"size": "1", "sha256": 0}}},
    ]  # fmt: skip
    (path / "COMPLETE").write_text(rng.choice([*map(json.dumps, made), '{"files":' * 100_000, "9" * 10_000, " " * (17 << 20)]))


def damaged_note(rng: random.Random, folder: Path) -> None:
    (folder.parent / "saved.json").write_text(rng.choice(["", "[", "[]", '{"step": "x"}', '{"step": 60}', "[" * 100_000]))


CHANGES: Mapping[str, Change] = {
    change.__name__: change
    for change in (
        damage, rename, odd_name, not_a_folder, not_a_file, remove, stranger, left_over, crafted_state, crafted_tensors,
        crafted_list, damaged_note,
    )
}  # fmt: skip


def change(seed: int, folder: Path) -> str:
    """Let something happen to the checkpoints in a folder; return what it was."""
    rng = random.Random(seed)
    name = sorted(CHANGES)[seed % len(CHANGES)]
    CHANGES[name](rng, folder)
    return name
