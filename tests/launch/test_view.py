"""The view of a sweep's cells."""

import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from launch.jobs.folder import JobFolder
from launch.sweep.plan import Cell, Manifest, SweepConfig
from launch.sweep.state import State, folder_of, states
from launch.sweep.view import view

SWEEP = SweepConfig.model_validate({"splits": {"25_5": {}}, "protocols": {"GZSL": {}}, "seeds": [0]})
CELL = Cell(
    name="25_5-GZSL-seed0-1a2b3c4d", split="25_5", protocol="GZSL", seed=0, varied={}, steps=4000, batch_size=64, identity="1a"
)


def lines(folder: Path, found: list[State], everything: bool = False) -> list[str]:
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(view(folder, found, everything))
    return capture.get().splitlines()


def test_a_running_cell_is_one_line_of_figures_and_its_log(tmp_path: Path) -> None:
    log = str(tmp_path / "slurm" / "0001" / "1234567_11_0_log.out")
    state = State(CELL, "RUNNING", "", 1200, 213.04, "val 31.4", 2, "gpu-node-17", log)
    shown = lines(
        tmp_path, [state, replace(state, name="PENDING", reason="Priority"), replace(state, name="FAILED", reason="why" * 40)]
    )
    assert any(
        line.split() == [CELL.name, "RUNNING", "1200/4000", "14", "min", "213", "val", "31.4", "2", "gpu-node-17"] for line in shown
    )
    assert shown.count("slurm/0001/1234567_11_0_log.out") == 0
    assert [line.strip() for line in shown].count("slurm/0001/1234567_11_0_log.out") == 3
    assert "1 FAILED, 1 PENDING, 1 RUNNING" in " ".join(" ".join(shown).split()), "wherever the folder's name breaks the line"
    assert "1 wait: Priority" in shown
    assert "whywhy" in "".join(shown)


def test_a_thousand_cells_are_looked_at_and_the_first_of_them_shown(tmp_path: Path) -> None:
    cells = tuple(CELL.model_copy(update={"name": f"cell{number:04d}"}) for number in range(1000))
    manifest = Manifest(sweep=SWEEP, overrides=(), cells=cells)
    for cell in cells[:500]:
        folder_of(tmp_path, cell).write("done.json", scores={"proto": [0.5, 0.25]})
    found = states(tmp_path, manifest)
    assert {state.score for state in found[:500]} == {"H 25.0"}
    shown = lines(tmp_path, found)
    assert "500 COMPLETE, 500 NEW" in " ".join(" ".join(shown).split())
    assert "and 460 more; --all shows every cell" in shown
    assert sum("cell0" in line for line in shown) == 40


def test_the_newest_figures_come_from_several_lines(tmp_path: Path) -> None:
    logged = [{"step": 10, "images_per_second": 5.0}, {"step": 20, "validation/score": 0.5}, {"step": 30, "images_per_second": 7.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in logged) + '{"step": 40, "ima')
    assert JobFolder(tmp_path).metrics() == {"step": 30, "images_per_second": 7.0, "validation/score": 0.5}
