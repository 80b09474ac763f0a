"""What a run says that it has spent."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from dsva.config import load
from dsva.cost import Shape
from dsva.evaluation.results import Results
from dsva.evaluation.tables import spent
from dsva.run_directory import RESULTS
from dsva.usage import Power, ask_watts, summed_up

LINE = {"interval_seconds": 1800, "images_per_second": 100.0, "tflops": 40.0, "memory_mib": 2048, "watts": 300.0, "mfu": 0.25}


def written(folder: Path, lines: Sequence[Mapping[str, object]]) -> tuple[Path, Path]:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "environment.json").write_text(json.dumps({"device_name": "NVIDIA GeForce RTX 4090", "world_size": 2}))
    return folder / "metrics.jsonl", folder / "environment.json"


def test_figures_are_means_over_time(tmp_path: Path) -> None:
    short = {**LINE, "interval_seconds": 600, "images_per_second": 60.0, "memory_mib": 3072, "watts": 100.0}
    cost = summed_up(*written(tmp_path, [{"step": 1, "validation/score": 0.5}, LINE, short]))
    assert cost
    assert cost.images_per_second == pytest.approx(90)
    assert cost.kwh == pytest.approx((300 * 1800 + 100 * 600) / 3.6e6)
    assert (cost.hours, cost.memory_mib, cost.mfu) == pytest.approx((2 / 3, 3072, 0.25))
    said = spent(cost)
    assert "0.67 h on 2 x NVIDIA GeForce RTX 4090: 90.0 images/s, 40.00 TFLOP/s a process (25.0 % of the peak in bf16)" in said
    assert "at most 3.00 GiB a process, 0.17 kWh." in said


def test_what_is_unknown_is_not_made_up(tmp_path: Path) -> None:
    unknown = {name: value for name, value in LINE.items() if name not in ("watts", "mfu")}
    cost = summed_up(*written(tmp_path, [LINE, unknown]))
    assert cost
    assert (cost.mfu, cost.kwh) == (None, None)
    assert "(whose peak is unknown here)" in spent(cost)
    assert "kWh" not in spent(cost)
    assert summed_up(*written(tmp_path, [])) is None
    assert summed_up(tmp_path / "none.jsonl", tmp_path / "none.json") is None


def test_a_run_on_a_cpu_tells_its_operations(run_dir: Path) -> None:
    config = load(run_dir / "config.yaml")
    cost = Results.read(run_dir / RESULTS).provenance.cost
    assert cost
    assert (cost.device, cost.processes, cost.mfu, cost.kwh) == ("cpu", 1, None, None)
    shape = Shape.of(config, len(json.loads(config.classes.attributes.read_text())["matrix"][0]))
    wanted = cost.images_per_second * shape.step_flops(config.model.regions, heads_only=False) / 1e12
    assert cost.tflops == pytest.approx(wanted)


def test_power_is_what_nvidia_smi_says(tmp_path: Path) -> None:
    stub = tmp_path / "nvidia_smi.py"
    stub.write_text(
        "import sys; assert sys.argv[1:] == ['--query-gpu=power.draw', '--format=csv,noheader,nounits']; print('312.50')"
    )
    assert ask_watts([sys.executable, str(stub)]) == 312.5
    stub.write_text("print('[N/A]')")
    assert ask_watts([sys.executable, str(stub)]) is None
    stub.write_text("raise SystemExit(9)")
    assert ask_watts([sys.executable, str(stub)]) is None
    assert ask_watts([str(tmp_path / "none")]) is None
    assert Power(torch.device("cpu")).watts() is None
