"""The same training for any number of processes and any engine: real processes, gloo, drawn scenes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsva.config import Config
from dsva.train.deepspeed_zero import deepspeed_settings
from shards.errors import UserError
from tests.helpers.drawn import ATTRIBUTES
from tests.helpers.process_groups import GroupServer
from tests.helpers.small_runs import small_set

ENGINES = ("ddp", "zero1", "zero2", "zero3", "fsdp2")
LAYOUTS = [(engine, world_size) for engine in ENGINES for world_size in (1, 2, 4)]
STEPS = 20
Line = dict[str, Any]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything that has to survive: episodes, regions, accumulation, heads-only steps, groups, mean weights."""
    folder = tmp_path_factory.mktemp("set")
    small_set(folder)
    values = {
        "data": {"shards": f"{folder / 'shards'}", "batch_size": 12, "ways": 6, "image_size": 24, "resize": 28, "workers": 1},
        "classes": {"attributes": str(ATTRIBUTES), "splits": "splits.json", "split": "small"},
        "model": {"width": 16, "layers": 1, "heads": 2, "mlp": 32, "patch": 8, "regions": True},
        "loss": {"group_main": 1e-3},
        "train": {"steps": STEPS, "heads_only_steps": 3, "accumulation": 2, "ema": 0.9},
        # The maximum over tokens makes the gradient jump where two tokens tie. Seed 0 meets a tie within rounding at step 16,
        # where half of the layouts then differ by 3e-5; seeds 1 to 6 meet none.
        "run": {"log_every": 1, "checkpoint_every": 5, "keep": 4, "seed": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def runs(server: GroupServer, config: Path) -> dict[tuple[str, int], Path]:
    """The finished run directory of every layout."""
    finished = {}
    for engine, world_size in LAYOUTS:
        folder = config.parent / f"{engine}-{world_size}"
        server.group(world_size, "train", config, f"run.dir={folder}", f"train.engine={engine}").succeed()
        finished[engine, world_size] = folder
    return finished


def metrics(folder: Path) -> list[Line]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def farthest(lines: list[Line], others: list[Line]) -> float:
    return max(abs(line["loss/total"] - other["loss/total"]) for line, other in zip(lines, others, strict=True))


@pytest.mark.parametrize(("engine", "world_size"), LAYOUTS)
def test_same_training_for_every_layout(runs: dict[tuple[str, int], Path], engine: str, world_size: int) -> None:
    alone, lines = metrics(runs["ddp", 1]), metrics(runs[engine, world_size])
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert [line["batch"] for line in lines] == [line["batch"] for line in alone]
    assert farthest(lines, alone) < 1e-5
    assert [line["gradient_norm"] for line in lines] == pytest.approx([line["gradient_norm"] for line in alone], rel=1e-5)


def test_ranks_share_the_work_of_saving(runs: dict[tuple[str, int], Path]) -> None:
    for engine in ENGINES:
        sizes = [file.stat().st_size for file in (runs[engine, 4] / "checkpoints" / f"step-{STEPS:08d}").glob("*.safetensors")]
        assert len(sizes) == 4
        assert max(sizes) < 1.5 * min(sizes)  # whole tensors are shared out


@pytest.mark.parametrize("engine", ENGINES)
def test_continuing_gives_the_same_bits(
    runs: dict[tuple[str, int], Path], server: GroupServer, config: Path, tmp_path: Path, engine: str
) -> None:
    """Weights, moments, step counts and mean weights all come back: the last checkpoint has the very same hashes."""
    folder = tmp_path / "run"
    shutil.copytree(runs[engine, 2], folder)
    last = folder / "checkpoints" / f"step-{STEPS:08d}" / "COMPLETE"
    uninterrupted = last.read_text()
    shutil.rmtree(last.parent)
    said = server.group(2, "train", config, f"run.dir={folder}", f"train.engine={engine}").succeed()
    assert "continuing from" in said
    assert "FutureWarning" not in said
    assert last.read_text() == uninterrupted


def test_engines_and_processes_change_on_the_way(
    runs: dict[tuple[str, int], Path], server: GroupServer, config: Path, tmp_path: Path
) -> None:
    """zero2 on 2 up to step 5, ddp on 1 up to 10, fsdp2 on 2 up to 15, zero3 on 4 up to 20, against one process in one go."""
    folder = tmp_path / "run"
    shutil.copytree(runs["zero2", 2], folder)
    for step, engine, world_size in ((10, "ddp", 1), (15, "fsdp2", 2), (20, "zero3", 4)):
        for checkpoint in (folder / "checkpoints").iterdir():
            if int(checkpoint.name.removeprefix("step-")) >= step:
                shutil.rmtree(checkpoint)
        server.group(world_size, "train", config, f"run.dir={folder}", f"train.engine={engine}").succeed()
        written = folder / "checkpoints" / f"step-{STEPS:08d}" / "state.json"
        assert json.loads(written.read_text())["engine"] == engine
    starts = [json.loads(line)["step"] for line in (folder / "starts.jsonl").read_text().splitlines()]
    assert starts == [0, 5, 10, 15]
    assert farthest(metrics(folder), metrics(runs["ddp", 1])) < 1e-5


def test_evaluation_counts_alike_for_any_number_of_ranks(
    runs: dict[tuple[str, int], Path], server: GroupServer, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(runs["zero3", 4], folder)
    heads = []
    for world_size in (1, 2, 4):
        server.group(world_size, "eval", folder, "eval.batch_size=5").succeed()
        heads.append(json.loads((folder / "results.json").read_text())["heads"])
    assert heads[0] == heads[1] == heads[2]


def test_weights_stay_float32_under_bf16(server: GroupServer, config: Path, tmp_path: Path) -> None:
    """Autocast alone rounds: ZeRO-3 and FSDP2 on two processes follow DDP on two as closely as bf16 allows."""
    lines, own = [], ("train.precision=bf16", "train.steps=8", "model.regions=false")  # whose boxes rounding would move
    for engine in ("ddp", "zero3", "fsdp2"):
        folder = tmp_path / engine
        server.group(2, "train", config, f"run.dir={folder}", f"train.engine={engine}", *own).succeed()
        lines.append(metrics(folder))
    assert farthest(lines[1], lines[0]) < 0.02
    assert farthest(lines[2], lines[0]) < 0.02


def test_more_processes_than_images_are_refused(server: GroupServer, config: Path, tmp_path: Path) -> None:
    group = server.group(2, "train", config, f"run.dir={tmp_path}/run", "train.accumulation=7")
    assert group.wait() == [2, 2]
    assert "data.batch_size=12 is less than 2 processes times train.accumulation=7" in group.ranks[0].output


def settings(path: Path | None, world_size: int = 2, **train: object) -> dict[str, Any]:
    made = deepspeed_settings(Config.model_validate({"train": {"engine": "zero2", "deepspeed": path, **train}}))
    assert made
    return made(world_size)


def test_own_deepspeed_file_is_merged(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": "auto", "overlap_comm": True, "reduce_bucket_size": 5}}))
    merged = settings(file, accumulation=4)
    assert merged["zero_optimization"]["stage"] == 2
    assert merged["zero_optimization"]["overlap_comm"] is True
    assert merged["zero_optimization"]["reduce_bucket_size"] == 5
    assert (merged["train_micro_batch_size_per_gpu"], merged["gradient_accumulation_steps"]) == (8, 4)


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ({"zero_optimization": {"stage": 3}}, "zero_optimization.stage is 3, the configuration says 2"),
        ({"gradient_clipping": 5}, "gradient_clipping is 5, the configuration says 1.0"),
        ({"bf16": {"enabled": True}}, "bf16.enabled is true, the configuration says false"),
        ({"optimizer": {"type": "Lion"}}, "'optimizer' is not DeepSpeed's business here"),
        ({"zero_optimization": 2}, "zero_optimization is 2, not an object"),
    ],
)
def test_own_deepspeed_file_cannot_contradict(tmp_path: Path, theirs: Line, named: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(theirs))
    with pytest.raises(UserError, match=r"mine\.json") as raised:
        settings(file)
    assert named in str(raised.value)


def test_deepspeed_file_needs_a_zero_engine(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs train\.engine=zero1, zero2 or zero3"):
        settings(tmp_path / "mine.json", engine="ddp")


def test_missing_deepspeed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsva.train.deepspeed_zero.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install dsva\[deepspeed\]"):
        settings(None)
