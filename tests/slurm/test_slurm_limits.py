"""What Slurm's limits, a user's environment and the names of folders do to a submission. 60 seconds on two processors."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dsva.processes.environment import first_host
from launch.jobs.folder import JobFolder
from launch.sweep.plan import Manifest
from launch.sweep.state import folder_of, states
from tests.helpers.jobs import note
from tests.helpers.slurm_cluster import ROOT, TINY, Cluster, step, until

CONFIG = ROOT / "configs" / "aid_25_5.yaml"
SWEEP = """
config: {config}
splits: {{25_5: {{}}}}
protocols: {{GZSL: {{}}}}
seeds: {seeds}
at_once: 2
cluster: {{time: "30", signal_seconds: 10, cpus_per_task: 1, memory_gb: 1}}
"""
# As sbatch says it where an account may have no more jobs: it takes the first array only.
FULL = """#!/bin/sh
[ -e {folder}/taken ] && echo 'sbatch: error: AssocMaxSubmitJobLimit
sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, ...)' >&2 && exit 1
touch {folder}/taken && PATH={path} exec sbatch "$@"
"""


@pytest.fixture
def small_arrays(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, with this very process as its user, and with arrays of two tasks at most; no job starts."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    file = Path(cluster.environment["SLURM_CONF"])
    text = file.read_text()
    file.write_text(text.replace("SchedulerParameters=", "SchedulerParameters=max_array_tasks=2,"))
    cluster.run("scontrol", "reconfigure")
    cluster.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    yield cluster
    cluster.run("scancel", "--partition=main")
    file.write_text(text)
    # The controller reads this limit again only when the second of the last reconfiguration differs from the one it read it in.
    time.sleep(1.1)
    cluster.run("scontrol", "reconfigure")
    cluster.run("scontrol", "update", "PartitionName=main", "State=UP")
    until(cluster.idle, "an empty queue")


def names(sweep: Path) -> list[str]:
    return [state.name for state in states(sweep, Manifest.read(sweep))]


def arrays(sweep: Path) -> list[str]:
    """The numbers of the arrays of all cells that were queued."""
    notes = [folder_of(sweep, cell).read("submitted.json") for cell in Manifest.read(sweep).cells]
    return [note["job"].split("_")[0] for note in notes if note]


def test_a_sweep_that_is_too_long_becomes_several_arrays_and_goes_on_where_slurm_took_no_more(
    small_arrays: Cluster, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, sweep, file = small_arrays, tmp_path / "sweep", tmp_path / "sweep.yaml"
    file.write_text(SWEEP.format(config=CONFIG, seeds=list(range(5))))
    start = ["sweep", "start", file, sweep, f"data.shards={scenes}", *TINY]
    assert "sbatch refuses: sbatch: error: invalid partition" in cluster.fails(*start, "--partition=none_such")
    assert list((sweep / "slurm").iterdir()) == [], "nothing is left of what was refused"
    assert names(sweep) == ["NEW"] * 5

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text(FULL.format(folder=tmp_path, path=cluster.environment["PATH"]))
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    with monkeypatch.context() as full:
        full.setitem(cluster.environment, "PATH", f"{tmp_path / 'bin'}:{cluster.environment['PATH']}")
        said = cluster.fails(*start)
    assert "AssocMaxSubmitJobLimit" in said
    assert "(1 of 5 jobs are queued; the same command goes on with the others)" in said
    assert names(sweep) == ["PENDING", *["NEW"] * 4]

    assert "4 cells started" in cluster.dsva(*start)
    assert names(sweep) == ["PENDING"] * 5
    numbers = arrays(sweep)
    assert [numbers.count(number) for number in dict.fromkeys(numbers)] == [1, 2, 2]
    shown = [cluster.run("scontrol", "-o", "show", "job", number) for number in numbers[1::2]]
    assert ["ArrayTaskThrottle=1" in text for text in shown] == [True, True], "two at once in all"
    assert "holds a sweep already" in cluster.fails(*start)
    cluster.dsva("sweep", "cancel", sweep)


def test_a_big_pack_becomes_several_arrays(small_arrays: Cluster, many: Path, tmp_path: Path) -> None:
    target = tmp_path / "SET"
    small_arrays.dsva("pack", many, target, "--shard-mib=4", "--cluster=slurm", "--jobs=3", "--workers=1")
    jobs = note(JobFolder(tmp_path / "SET.packing"), "queued.json")["jobs"]
    assert len({job.split("_")[0] for job in jobs}) == 2
    assert len(jobs) == 3


@pytest.mark.parametrize("name", ["a%jb", "back\\slash", "a:b", "new\nline"])
def test_a_folder_that_slurm_would_misread_is_refused_before_anything_is_made(
    cluster: Cluster, scenes: Path, tmp_path: Path, name: str
) -> None:
    settings, folder = [f"data.shards={scenes}", *TINY], tmp_path / name
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(config=CONFIG, seeds=[0]))
    commands: Sequence[Sequence[object]] = (
        ["submit", CONFIG, *settings, f"run.dir={folder}"],
        ["sweep", "start", tmp_path / "sweep.yaml", folder, *settings],
        ["pack", scenes.parent / "DATA", folder, "--cluster=slurm"],
    )
    for command in commands:
        said = cluster.fails(*command)
        # A line's end no run can have in the name of its folder, wherever it trains.
        assert "cannot hold jobs of Slurm" in said or "run.dir: " in said, command
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_odd_names_keep_their_output_and_sigusr1_and_a_foreign_environment_lose_nothing(
    cluster: Cluster, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = JobFolder(tmp_path / 'it\'s a "run" #1 $HOME é [1-2]')
    for name, value in {
        "SUBMITIT_PREEMPT_SIGNAL": "USR1",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "SBATCH_PARTITION": "none",
    }.items():
        monkeypatch.setitem(cluster.environment, name, value)
    settings = [f"data.shards={scenes}", *TINY, "train.steps=200"]
    printed = cluster.dsva(
        "submit", CONFIG, f"run.dir={folder.run}", *settings, "--cluster=slurm", "--cpus-per-task=1", "--time=30"
    )
    job, log = printed.split("job ")[-1].strip().split("; its output: ")
    until(lambda: step(folder.run) > 4, "first steps")
    assert "--signal=USR2@120" in next(folder.path.glob("slurm/*/*_submission.sh")).read_text()
    cluster.run("scancel", "--signal=USR1", job)
    until(lambda: (folder.read("heartbeat.json") or {}).get("generation") == 2, "the second start", 120)
    assert not folder.read("crashes.json"), "to be told to stop is no crash"
    until(folder.done, "the end", 180)
    until(cluster.idle, "an empty queue")
    assert "stopped by SIGUSR1 and saved" in Path(log).read_text()


@pytest.mark.parametrize(
    "nodes",
    ["gpu[01-02]-ib[0-3]", "a[1,3-5],b2", "rack[1-2]n[01-16]", "x[1-2][3-4]", "[008-012]", "tux[0-1]-[00-01]x[5,7],tux9", "a"],
)
def test_the_first_host_is_the_one_that_slurm_names(cluster: Cluster, nodes: str) -> None:
    assert first_host(nodes) == cluster.run("scontrol", "show", "hostnames", nodes).splitlines()[0]
