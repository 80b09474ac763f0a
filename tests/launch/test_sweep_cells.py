"""Sweeps without Slurm: cells and their identities, what is refused, states, and the table. 10 seconds."""

from pathlib import Path

import pytest

from dsva.evaluation.results import Results
from dsva.run_directory import RESULTS
from launch.jobs.folder import JobFolder
from launch.jobs.lock import alone
from launch.slurm.batch import ClusterConfig
from launch.submission.start import start
from launch.sweep.actions import begin, extend, tail
from launch.sweep.plan import MANIFEST, Manifest, SweepConfig, expand, read_sweep
from launch.sweep.state import folder_of, states
from launch.sweep.table import as_csv, as_latex, sweep_table
from shards.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def sweep() -> SweepConfig:
    return read_sweep(ROOT / "configs" / "sweeps" / "aid.yaml")


def test_cells_are_splits_by_protocols_by_seeds(sweep: SweepConfig, overrides: list[str], tmp_path: Path) -> None:
    cells = expand(sweep, overrides, tmp_path)
    assert len(cells) == 12
    assert {(cell.split, cell.protocol, cell.seed) for cell in (planned.cell for planned in cells)} == {
        (split, protocol, seed) for split in ("25_5", "20_10", "15_15") for protocol in ("ZSL", "GZSL") for seed in (0, 1)
    }
    for cell, config in ((planned.cell, planned.config) for planned in cells):
        assert (config.classes.split, config.run.seed) == (cell.split, cell.seed)
        assert config.classes.seen_test_share == {"ZSL": 0, "GZSL": 0.2}[cell.protocol]
        assert config.run.dir.is_absolute()


def test_an_identity_follows_what_is_computed_and_nothing_else(sweep: SweepConfig, overrides: list[str], tmp_path: Path) -> None:
    def identities(*more: str) -> list[str]:
        return [planned.cell.identity for planned in expand(sweep, [*overrides, *more], tmp_path)]

    before = identities()
    assert identities("data.workers=3", "run.keep=5") == before
    assert not set(identities("optimizer.lr=0.5")) & set(before)
    assert not set(identities("eval.gamma=0.5")) & set(before)


def test_any_key_can_vary(sweep: SweepConfig, overrides: list[str], tmp_path: Path) -> None:
    varied = sweep.model_copy(update={"vary": {"optimizer.lr": (1e-3, 1e-4)}, "seeds": (0,)})
    cells = expand(varied, overrides, tmp_path)
    assert {planned.config.optimizer.lr for planned in cells} == {1e-3, 1e-4}
    assert len({planned.cell.row for planned in cells}) == 12


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.stepps=3", "did you mean 'train.steps'"),
        ("data.shards=NOWHERE", "NOWHERE"),
        ("classes.split=25_5", "two cells of the sweep compute the same"),
        ("train.accumulation=9", "cannot be shared by 1 processes x 9 accumulation steps"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    sweep: SweepConfig, overrides: list[str], tmp_path: Path, change: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        begin(sweep, [*overrides, change], tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_begins_once_and_extends(sweep: SweepConfig, overrides: list[str], tmp_path: Path) -> None:
    small = sweep.model_copy(update={"seeds": (0,)})
    planned = begin(small, overrides, tmp_path)
    first = Manifest.read(tmp_path)
    with pytest.raises(UserError, match="holds a sweep already"):
        begin(sweep, overrides, tmp_path)
    # As if Slurm had taken one array and refused the other: the same command goes on, with other demands perhaps.
    folder_of(tmp_path, first.cells[0]).fail("a reason", 1)
    bigger = small.model_copy(update={"cluster": ClusterConfig(nodes=2)})
    assert [one.cell for one in begin(bigger, overrides, tmp_path)] == [one.cell for one in planned[1:]]
    assert Manifest.read(tmp_path) == first.model_copy(update={"sweep": bigger})
    for cell in first.cells:
        folder_of(tmp_path, cell).fail("a reason", 1)
    with pytest.raises(UserError, match="holds a sweep already"):
        begin(small, overrides, tmp_path)
    added = extend(sweep, tmp_path)
    longer = Manifest.read(tmp_path)
    assert longer.cells[len(first.cells) :] == tuple(planned.cell for planned in added)
    assert longer.cells[: len(first.cells)] == first.cells
    assert len(longer.cells) == 12


def test_two_commands_do_not_start_cells_at_once(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(UserError, match="another command"), alone(tmp_path):
        pass


def test_states_and_the_table_of_runs_that_were_carried_out_here(sweep: SweepConfig, overrides: list[str], tmp_path: Path) -> None:
    one_split = sweep.model_copy(update={"splits": {"25_5": sweep.splits["25_5"]}, "published": {"25_5": {"ZSL": {"ZSL": 84.0}}}})
    begin(one_split, overrides, tmp_path)
    manifest = Manifest.read(tmp_path)
    assert [state.name for state in states(tmp_path, manifest)] == ["NEW"] * 4
    first, second, third, _ = (folder_of(tmp_path, cell) for cell in manifest.cells)
    start([first.run, second.run], "sweep", tmp_path / "slurm", "debug", manifest.sweep.cluster, 1)
    third.fail("data.shards is gone", 2)
    found = states(tmp_path, manifest)
    assert [state.name for state in found] == ["COMPLETE", "COMPLETE", "FAILED", "NEW"]
    assert (found[0].step, found[2].reason) == (2, "data.shards is gone")
    zsl = Results.read(first.run / RESULTS).heads["proto"].zsl
    assert found[0].score == f"ZSL {100 * zsl:.1f}"

    table = sweep_table(tmp_path, manifest)
    assert [row[:2] for row in table.rows] == [["25_5 ZSL", "2/2"], ["25_5 ZSL published", ""], ["25_5 GZSL", "0/2"]]
    assert table.rows[1][2] == "84.0"
    assert table.note.endswith(f"Missing 2 of 4 runs: {manifest.cells[2].name}, {manifest.cells[3].name}.")
    assert as_csv(table).count("\n") == 4
    assert r"$\pm$" in as_latex(table)
    assert r"25\_5 ZSL & 2/2 & " in as_latex(table)
    assert (first.run / RESULTS).is_file()


def test_the_published_sweep_has_six_settings_and_their_figures() -> None:
    paper = read_sweep(ROOT / "configs" / "sweeps" / "paper.yaml")
    assert sum(len(protocols) for protocols in paper.published.values()) == 6
    for split, protocols in paper.published.items():
        gzsl = protocols["GZSL"]
        assert 2 * gzsl["S"] * gzsl["U"] / (gzsl["S"] + gzsl["U"]) == pytest.approx(gzsl["H"], abs=0.1), split


def test_what_is_no_sweep_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=MANIFEST):
        Manifest.read(tmp_path)
    (tmp_path / "sweep.yaml").write_text("split: {}")
    with pytest.raises(UserError, match="there is no key 'split'; did you mean 'splits'"):
        read_sweep(tmp_path / "sweep.yaml")


def test_output_of_a_cell_that_has_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no output on file"):
        tail(JobFolder(tmp_path), "", 10)
