"""Two processes on gloo train and score as one does; a run can change the number of its processes. 40 s."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.fork_server import Command, ForkServer
from tests.helpers.noise import Noise
from tests.helpers.programs import environment
from tests.helpers.runs import assert_same, checkpoints, column, finished, metrics, one_line, results

STEPS = 10
OVERRIDES = [f"train.steps={STEPS}", "train.heads_only_steps=2", "train.ema=0.9", "run.checkpoint_every=4", "eval.batch_size=7"]
ORDERS = {"epochs": [], "episodes": ["data.ways=4"]}


def start_two(dsva: ForkServer, *arguments: object) -> list[Command]:
    """Start a command in two processes, with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    everyones = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [dsva.start(*arguments, **everyones, RANK=rank, LOCAL_RANK=rank) for rank in range(2)]


def run_two(dsva: ForkServer, *arguments: object) -> list[str]:
    """Run a command in two processes to its good end; return what each printed."""
    commands = start_two(dsva, *arguments)
    assert [command.wait() for command in commands] == [0, 0], "\n".join(command.output for command in commands)
    return [command.output for command in commands]


@pytest.fixture(scope="module", params=ORDERS)
def alone(request: pytest.FixtureRequest, dsva: ForkServer, tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of one process, in each kind of order."""
    run = tmp_path_factory.mktemp("alone") / request.param
    code, output = dsva.run("train", tiny.config, f"run.dir={run}", *OVERRIDES, *ORDERS[request.param])
    assert code == 0, output
    return run


def assert_agrees(run: Path, alone: Path) -> None:
    """Check that a run saw the same images, and came to the same losses, weights and figures but for rounding."""
    assert column(run, "step") == column(alone, "step")
    assert column(run, "batch") == column(alone, "batch")
    for name in ("loss/total", "loss/ce_main", "loss/compactness", "gradient_norm"):
        assert column(run, name) == pytest.approx(column(alone, name), rel=1e-5, abs=1e-9), name
    # Where a gradient is 0 in theory (the keys' offsets), Adam makes steps of rounding; all others agree far better.
    assert_same(finished(run), finished(alone), atol=5e-4)
    assert sum(abs(ours - theirs) for ours, theirs in zip(recognised(run), recognised(alone), strict=True)) <= 1


def recognised(run: Path) -> list[int]:
    """How many images of each class were recognised, by both heads, in both settings."""
    heads = results(run)["heads"]
    return [c["correct"] for name in ("proto", "main") for c in [*heads[name]["zsl_classes"], *heads[name]["gzsl"]["classes"]]]


def test_two_processes_see_the_same_images_and_come_to_the_same_end(
    dsva: ForkServer, tiny: Noise, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "RUN"
    first, second = run_two(dsva, "train", tiny.config, f"run.dir={run}", *OVERRIDES, *ORDERS[alone.name])
    assert "starting from step 0" in first
    # One process speaks; torch itself warns in each that frozen steps make DDP look for parameters without gradient.
    assert [line for line in second.splitlines() if "reducer.cpp" not in line] == []
    assert_agrees(run, alone)
    files = sorted(path.name for path in checkpoints(run)[-1].glob("*.safetensors"))
    assert files == ["rank-00000-of-00002.safetensors", "rank-00001-of-00002.safetensors"]
    assert json.loads((run / "environment.json").read_text())["world_size"] == 2


def test_a_run_goes_on_with_another_number_of_processes(dsva: ForkServer, tiny: Noise, alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    command = ("train", tiny.config, f"run.dir={run}", *OVERRIDES, *ORDERS[alone.name])
    both = start_two(dsva, *command)
    both[0].until(lambda: len(checkpoints(run)) == 1 and (run / "checkpoints" / "step-00000004").exists())
    for process in both:
        process.kill()
        process.wait()
    one = dsva.start(*command)
    one.until(lambda: metrics(run)[-1]["step"] > 4)
    one.kill(signal.SIGTERM)
    assert one.wait() in (0, 128 + signal.SIGTERM)
    assert "continuing from" in one.output
    assert "world_size 2 then, 1 now: the finished weights will not be those of an uninterrupted run" in one.output
    first, _ = run_two(dsva, *command)
    assert "continuing from" in first
    assert_agrees(run, alone)


def test_a_signal_to_one_process_stops_both_at_the_same_step(dsva: ForkServer, tiny: Noise, tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    both = start_two(dsva, "train", tiny.config, f"run.dir={run}", "train.steps=100000", "run.checkpoint_every=100000")
    both[0].until(lambda: len(metrics(run)) > 3)
    both[1].kill(signal.SIGUSR2)
    assert [process.wait() for process in both] == [128 + signal.SIGUSR2] * 2
    (saved,) = checkpoints(run)
    assert int(saved.name.removeprefix("step-")) == metrics(run)[-1]["step"]


def test_evaluating_in_two_processes_gives_the_same_figures(dsva: ForkServer, alone: Path) -> None:
    before = results(alone)
    run_two(dsva, "eval", alone)
    assert results(alone) == before


def test_parts_of_different_size_count_by_their_images(dsva: ForkServer, tiny: Noise, tmp_path: Path) -> None:
    overrides = ["data.batch_size=7", "train.steps=3", "train.accumulation=2"]
    assert dsva.run("train", tiny.config, f"run.dir={tmp_path / 'ONE'}", *overrides)[0] == 0
    run_two(dsva, "train", tiny.config, f"run.dir={tmp_path / 'TWO'}", *overrides)
    assert_agrees(tmp_path / "TWO", tmp_path / "ONE")


@pytest.mark.parametrize(
    ("override", "part"),
    [("classes.split=nosuch", "nosuch"), ("model.patch=7", "model.patch=7"), ("train.steps=11", "holds no run")],
)
def test_a_mistake_ends_both_processes_with_one_sentence(
    dsva: ForkServer, tiny: Noise, tmp_path: Path, override: str, part: str
) -> None:
    run = tmp_path / "RUN" if part != "holds no run" else tiny.root / "DATA"
    both = start_two(dsva, "train", tiny.config, f"run.dir={run}", override)
    assert [process.wait() for process in both] == [2, 2], "\n".join(process.output for process in both)
    one_line(both[0].output, [part])
    assert "Traceback" not in both[1].output


@pytest.mark.parametrize(
    "launcher",
    [
        ["torch.distributed.run", "--nproc-per-node", "2", "--standalone"],
        ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"],
    ],
    ids=["torchrun", "accelerate"],
)
def test_common_launchers(tiny: Noise, dsva: ForkServer, tmp_path: Path, launcher: list[str]) -> None:
    overrides = ["train.steps=3", "run.checkpoint_every=3"]
    # Accelerate would take these over the configuration's.
    unwanted = {"ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "launch", "train", str(tiny.config), f"run.dir={tmp_path / 'TWO'}", *overrides],
        check=False, capture_output=True, text=True, timeout=100, env=environment() | unwanted,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "TWO" / "environment.json").read_text())["world_size"] == 2
    assert dsva.run("train", tiny.config, f"run.dir={tmp_path / 'ONE'}", *overrides)[0] == 0
    assert_agrees(tmp_path / "TWO", tmp_path / "ONE")
