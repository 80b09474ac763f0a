"""The batch script as text."""

from pathlib import Path

import pytest

from launch.slurm.batch import ClusterConfig, after, check_folder, cluster_config, minutes, script
from shards.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("/runs/a b/job/slurm/0001")


def asked(text: str) -> dict[str, str]:
    """The options of sbatch in a script."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_two_nodes_of_the_given_cluster_ask_for_one_task_a_gpu() -> None:
    cluster = cluster_config(ROOT / "configs" / "cluster" / "rtx4090.yaml", {"nodes": 2, "partition": "gpu", "account": None})
    options = asked(script(cluster, "a", FOLDER, 1, 1))
    assert (options["nodes"], options["gpus-per-node"], options["ntasks-per-node"]) == ("2", "8", "8")
    assert (options["time"], options["signal"], options["partition"]) == ("720", "USR2@180", "gpu")
    assert "requeue" in options
    assert "account" not in options
    assert "array" not in options


def test_an_array_is_throttled() -> None:
    assert asked(script(ClusterConfig(), "a", FOLDER, 1000, 16))["array"] == "0-999%16"


def test_the_code_of_the_submission_comes_first_and_the_folder_of_the_call_never() -> None:
    text = script(ClusterConfig(setup=("module load cuda",)), "a", FOLDER, 1, 1)
    assert text.index("module load cuda") < text.index("export PYTHONPATH='/runs/a b/job/slurm/0001/code'") < text.index("\nsrun ")
    assert "PYTHONSAFEPATH=1 DSVA_SIGNAL_SECONDS=120\n" in text


@pytest.mark.parametrize("cluster", [ClusterConfig(signal_seconds=77), ClusterConfig(signal_seconds=77, max_crashes=0)])
def test_the_signal_is_ours_whatever_the_environment_of_submitit_says(
    monkeypatch: pytest.MonkeyPatch, cluster: ClusterConfig
) -> None:
    monkeypatch.setattr("submitit.slurm.slurm.SlurmJobEnvironment.USR_SIG", "USR1")  # which it reads when it is imported
    text = script(cluster, "a", FOLDER, 1, 1)
    assert asked(text)["signal"] == "USR2@77"
    assert text.index("export SUBMITIT_PREEMPT_SIGNAL=USR2\n") < text.index("\nsrun ")


@pytest.mark.parametrize("name", ["100%", "a%jb", "back\\slash", "a:b", "new\nline"])
def test_folders_that_slurm_or_python_would_misread_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot hold jobs of Slurm"):
        check_folder(Path("/runs") / name / "job")
    check_folder(Path('/runs/a b/it\'s/"q"/#1/é中/[1-2]/$HOME'))


def test_who_waits_for_an_array_may_wait_for_others_too() -> None:
    assert after(ClusterConfig(), "7").sbatch == {"dependency": "afterany:7"}
    assert after(ClusterConfig(sbatch={"dependency": "afterok:3"}), "7").sbatch == {"dependency": "afterok:3,afterany:7"}


def test_a_failing_rank_takes_the_others_along_and_the_script_keeps_its_code() -> None:
    lines = script(ClusterConfig(cpus_per_task=3), "a", FOLDER, 1, 1).splitlines()
    (srun,) = [line for line in lines if line.startswith("srun ")]
    assert "--kill-on-bad-exit=1 --cpus-per-task=3" in srun
    assert lines[-3] == "code=$?"
    assert lines[-2].startswith("[ $code = 0 ] || ")
    assert lines[-2].endswith("-m launch.slurm.requeue '/runs/a b/job/slurm/0001/runs.json' 3 $code")
    assert lines[-1] == "exit $code"


@pytest.mark.parametrize(("time", "expected"), [("90", 90), ("12:00:00", 720), ("1-00:00:30", 1441), ("00:05:00", 5)])
def test_time_limits(time: str, expected: int) -> None:
    assert minutes(time) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nodess": 2}, "there is no key 'nodess'; did you mean 'nodes'?"),
        ({"nodes": 0}, "nodes=0: Input should be greater than or equal to 1"),
        ({"time": "noon"}, "time='noon' is no time limit: write D-HH:MM:SS, HH:MM:SS, or minutes"),
        ({"time": "3"}, "time=3 leaves no time to work: give more than 120 s beyond signal_seconds=120"),
    ],
)
def test_mistakes_are_said_in_a_sentence(given: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        cluster_config(None, given)
    assert said in str(caught.value)
