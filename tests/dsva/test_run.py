"""Runs as a user starts them: what they leave, how they are refused, how they end. 25 s."""

import json
from pathlib import Path

import numpy as np
import pytest
import xxhash

from dsva.config import dump, load
from dsva.protocol.experiment import Experiment
from dsva.train.trainer import sample_order
from tests.helpers.fork_server import ForkServer
from tests.helpers.noise import Noise, noise
from tests.helpers.runs import assert_same, board, checkpoints, column, finished, metrics, one_line, results, tensors
from tests.helpers.small_runs import IMAGES, SEEN, UNSEEN, pack_small, small_config


@pytest.fixture(scope="module")
def done(dsva: ForkServer, tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of 6 steps."""
    run = tmp_path_factory.mktemp("done") / "[/v]RUN"  # which markup would take for the end of something
    code, output = dsva.run("train", tiny.config, f"run.dir={run}")
    assert code == 0, output
    return run


def test_a_run_leaves_the_record_that_is_promised(done: Path, tiny: Noise) -> None:
    names = {path.name for path in done.iterdir()}
    assert {"config.yaml", "environment.json", "starts.jsonl", "metrics.jsonl", "tensorboard", "results.json", "results.md"} < names
    assert {"confusion_zsl_proto.png", "confusion_gzsl_main.png", "seen_unseen.png"} < names
    config = load(done / "config.yaml")
    assert config == load(tiny.config, [f"run.dir={done}"])
    environment = json.loads((done / "environment.json").read_text())
    assert environment["command"][1:] == ["train", str(tiny.config), f"run.dir={done}"]
    assert environment["packages"].keys() >= {"torch", "accelerate", "numpy"}
    assert (environment["world_size"], environment["threads"]) == (1, 1)
    starts = [json.loads(line) for line in (done / "starts.jsonl").read_text().splitlines()]
    assert (starts[0]["step"], starts[0]["why"]) == (0, "first start")
    assert [path.name for path in checkpoints(done)] == ["step-00000004", "step-00000006"]  # keep=2


def test_metrics_are_one_line_a_step_and_the_same_in_tensorboard(done: Path, tiny: Noise) -> None:
    assert column(done, "step") == [1, 2, 3, 4, 5, 6]
    for name in ("loss/total", "loss/ce_main", "gradient_norm", "lr/heads"):
        steps, values = zip(*board(done, name), strict=True)
        assert list(steps) == column(done, "step")
        assert values == pytest.approx(column(done, name), rel=1e-6)
    for line in metrics(done):
        terms = [value for name, value in line.items() if name.startswith("loss/") and name != "loss/total"]
        assert line["loss/total"] == pytest.approx(sum(terms), rel=1e-5)
        assert np.isfinite(list(v for v in line.values() if isinstance(v, float))).all()
        assert 0 <= line["data_wait_share"] <= 1
    order = sample_order(Experiment.open(load(tiny.config)))
    assert column(done, "batch") == [xxhash.xxh3_64_hexdigest(order.batch(step).tobytes()) for step in range(6)]


def test_the_same_command_again_trains_no_step_and_changes_no_result(done: Path, dsva: ForkServer, tiny: Noise) -> None:
    before, lines, weights = results(done), metrics(done), finished(done)
    code, output = dsva.run("train", tiny.config, f"run.dir={done}")
    assert code == 0
    assert f"continuing from {checkpoints(done)[-1]}" in output
    assert (results(done), metrics(done)) == (before, lines)
    assert_same(finished(done), weights)
    assert [json.loads(line)["step"] for line in (done / "starts.jsonl").read_text().splitlines()][-1] == 6


def test_two_runs_of_one_configuration_are_equal_to_the_bit(done: Path, dsva: ForkServer, tiny: Noise, tmp_path: Path) -> None:
    # Other threads, other checkpoints, another batch size of the evaluation: how it is done, not what.
    free = ["data.workers=1", "data.prefetch=1", "run.checkpoint_every=100", "run.log_every=4"]
    code, output = dsva.run("train", tiny.config, f"run.dir={tmp_path / 'RUN'}", *free)
    assert code == 0, output
    assert_same(finished(tmp_path / "RUN"), finished(done))
    assert results(tmp_path / "RUN") == results(done)
    assert column(tmp_path / "RUN", "step") == [4, 6]


def test_another_seed_is_another_run(done: Path, dsva: ForkServer, tiny: Noise, tmp_path: Path) -> None:
    assert dsva.run("train", tiny.config, f"run.dir={tmp_path / 'RUN'}", "run.seed=1")[0] == 0
    ours, theirs = finished(tmp_path / "RUN"), finished(done)
    assert not (ours["model/proto.prototypes"] == theirs["model/proto.prototypes"]).any()
    assert not set(column(tmp_path / "RUN", "batch")) & set(column(done, "batch"))


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("optimizer.lr=0.1", ("optimizer.lr=0.003", "0.1", "run.dir")),
        ("train.steps=7", ("train.steps=6", "7")),
        ("run.seed=3", ("run.seed=0", "3")),
        ("data.batch_size=6", ("data.batch_size=12", "6")),
    ],
)
def test_another_configuration_in_the_directory_is_refused(
    done: Path, dsva: ForkServer, tiny: Noise, override: str, names: tuple[str, ...]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*")}
    code, output = dsva.run("train", tiny.config, f"run.dir={done}", override)
    assert code == 2
    one_line(output, [str(done), *names])
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*")} == before


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Noise:
    """A set like `tiny` with other pictures."""
    return noise(tmp_path_factory.mktemp("other"), seed=1)


def test_a_run_is_not_continued_on_another_shard_set(done: Path, dsva: ForkServer, tiny: Noise, other: Noise) -> None:
    code, output = dsva.run("train", tiny.config, f"run.dir={done}", f"data.shards={other.shards}")
    assert code == 2
    one_line(output, ["digest", f"run.dir={done}", "data.shards"])
    code, output = dsva.run("eval", done, f"data.shards={other.shards}")
    assert code == 2
    one_line(output, ["digest"])


def test_a_run_is_not_continued_with_other_attributes_or_classes(dsva: ForkServer, tmp_path: Path) -> None:
    tiny = noise(tmp_path / "TINY")
    command = ("train", tiny.config, f"run.dir={tmp_path / 'RUN'}", "train.steps=2")
    assert dsva.run(*command)[0] == 0
    files = {name: (tiny.root / name).read_text() for name in ("attributes.json", "splits.json")}
    table, splits = (json.loads(text) for text in files.values())
    table["matrix"][0][0] += 0.25
    splits["split"]["seen"].reverse()
    for name, value in (("attributes.json", table), ("splits.json", splits)):
        (tiny.root / name).write_text(json.dumps(value))
        code, output = dsva.run(*command)
        assert code == 2, output
        one_line(output, [f"classes.{Path(name).stem}", "run.dir"])
        (tiny.root / name).write_text(files[name])
    assert dsva.run(*command)[0] == 0


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["data.shards=NOWHERE"], ["NOWHERE"]),
        (["classes.attributes=NOWHERE"], ["NOWHERE"]),
        (["classes.split=spilt"], ["spilt", "did you mean 'split'?"]),
        (["data.ways=7", "data.batch_size=14"], ["data.ways=7", "6 seen classes"]),
        (["data.ways=2", "data.batch_size=40"], ["to train on", "needs 20"]),
        (["validation.partition=0", "classes.seen_test_share=0.95"], ["images"]),
        (["model.patch=7"], ["model.patch=7", "32"]),
        (["model.width=30"], ["model.width=30"]),
        (["model.backbone=NOWHERE"], ["model.backbone=NOWHERE"]),
        (["eval.validation_run=NOWHERE"], ["NOWHERE"]),
        (["train.stpes=3"], ["did you mean 'train.steps'?"]),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    dsva: ForkServer, tiny: Noise, tmp_path: Path, overrides: list[str], names: list[str]
) -> None:
    code, output = dsva.run("train", tiny.config, f"run.dir={tmp_path / 'RUN'}", *overrides)
    assert code == 2, output
    one_line(output, names)
    left = list((tmp_path / "RUN").iterdir()) if (tmp_path / "RUN").exists() else []
    assert [path.name for path in left] in ([], [".lock"])  # so the corrected command starts as if nothing had been


def test_a_directory_with_something_else_is_refused(dsva: ForkServer, tiny: Noise, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target, reason in (
        (tmp_path, "is not empty and holds no run"),
        (tmp_path / "file", "cannot be made"),
        (tmp_path / "file" / "RUN", "cannot be made"),
    ):
        code, output = dsva.run("train", tiny.config, f"run.dir={target}")
        assert code == 2
        one_line(output, [str(target), reason])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_second_process_in_the_directory_is_refused(dsva: ForkServer, tiny: Noise, tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    command = ("train", tiny.config, f"run.dir={run}", "train.steps=100000", "run.checkpoint_every=100000")
    first = dsva.start(*command)
    first.until((run / "metrics.jsonl").is_file)
    code, output = dsva.run(*command)
    assert code == 2
    one_line(output, [str(run), "in use"])
    first.kill()
    assert first.wait() == -9


def test_evaluating_a_run_gives_the_figures_of_its_end(done: Path, dsva: ForkServer) -> None:
    before = results(done)
    assert dsva.run("eval", done)[0] == 0
    assert results(done) == before
    code, output = dsva.run("eval", done, "eval.gamma=1000")
    assert code == 0, output
    after = results(done)
    assert after["heads"]["proto"]["gzsl"]["seen"] == 0  # every seen class is pushed below the unseen ones
    assert after["heads"]["proto"]["gzsl"]["unseen"] == before["heads"]["proto"]["zsl"]
    assert after["heads"]["proto"]["zsl"] == before["heads"]["proto"]["zsl"]
    for folder in (done.parent, done / "nowhere"):
        code, output = dsva.run("eval", folder)
        assert code == 2
        one_line(output, [str(folder)])


@pytest.mark.parametrize(
    "overrides",
    [
        ["classes.seen_test_share=0.7"],  # images that were trained on would measure S
        ["classes.split=random:3:3"],  # classes that were trained on would be called unseen
        ["validation.partition=0"],
        ["scores.kind=dot"],
    ],
)
def test_a_run_is_scored_as_it_was_trained_or_not_at_all(done: Path, dsva: ForkServer, overrides: list[str]) -> None:
    before = results(done)
    code, output = dsva.run("eval", done, *overrides)
    assert code == 2, output
    one_line(output, [overrides[0].partition("=")[0], str(done)])
    assert results(done) == before


def test_a_run_is_not_scored_with_other_attributes_or_classes(done: Path, dsva: ForkServer, other: Noise) -> None:
    for key, name in (("attributes", "attributes.json"), ("splits", "splits.json")):
        value = json.loads((other.root / name).read_text())
        (value["matrix"] if key == "attributes" else value["split"]["seen"]).reverse()
        changed = other.root / f"changed_{name}"
        changed.write_text(json.dumps(value))
        code, output = dsva.run("eval", done, f"classes.{key}={changed}")
        assert code == 2, output
        one_line(output, [f"classes.{key}", "digest"])


def test_a_validation_run_meets_no_test_image_and_its_gamma_is_taken(
    done: Path, dsva: ForkServer, tiny: Noise, tmp_path: Path
) -> None:
    honest = Experiment.open(load(tiny.config)).sets
    held = set()
    for partition in (0, 1, 2):
        sets = Experiment.open(load(tiny.config, [f"validation.partition={partition}"])).sets
        used = np.concatenate([sets.train, sets.seen_test, sets.unseen_test])
        assert np.isin(used, honest.train).all()
        assert not set(sets.classes) & set(honest.unseen)
        held |= set(sets.unseen)
    assert held == set(honest.seen)
    run = tmp_path / "VALIDATION"
    code, output = dsva.run(
        "train", tiny.config, f"run.dir={run}", "validation.partition=1", "validation.every=3", "classes.seen_test_share=0.25"
    )
    assert code == 0, output
    assert results(run)["protocol"] == "validation"
    validated = [line for line in metrics(run) if "validation/proto/zsl" in line]
    assert [line["step"] for line in validated] == [3, 6]
    assert results(run)["heads"]["proto"]["zsl"] == pytest.approx(validated[-1]["validation/proto/zsl"])
    code, output = dsva.run("eval", done, f"eval.validation_run={run}")
    assert code == 2  # it held other images out
    one_line(output, [str(run)])


def test_gamma_comes_from_the_validation_run(done: Path, dsva: ForkServer, tiny: Noise, tmp_path: Path) -> None:
    run = tmp_path / "VALIDATION"
    assert dsva.run("train", tiny.config, f"run.dir={run}", "validation.partition=1")[0] == 0
    code, output = dsva.run("eval", done, f"eval.validation_run={run}")
    assert code == 0, output
    for head in ("proto", "main"):
        chosen = results(run)["heads"][head]["gzsl"]["best_gamma"]
        assert results(done)["heads"][head]["gzsl"]["gamma"] == chosen
        assert str(run) in results(done)["heads"][head]["gzsl"]["gamma_source"]


def test_a_loss_that_stays_not_finite_ends_the_run_in_a_sentence(dsva: ForkServer, tiny: Noise, tmp_path: Path) -> None:
    run = tmp_path / "RUN"
    overrides = ["optimizer.lr=1e18", "optimizer.clip_norm=0", "train.steps=40", "run.checkpoint_every=1"]
    code, output = dsva.run("train", tiny.config, f"run.dir={run}", *overrides, "faults.skip_budget=2")
    assert code == 2, output
    one_line(output, ["optimizer.lr", "not finite", "going back 2 times", str(run / "bad_steps.jsonl")])
    assert output.count("going back to step") == 2
    for checkpoint in checkpoints(run):
        assert all(tensor.isfinite().all() for tensor in tensors(checkpoint).values()), checkpoint
    assert "not finite" in json.loads((run / "ended.json").read_text())["why"]


def test_real_scenes_are_learnt(dsva: ForkServer, aid: Path, tmp_path: Path) -> None:
    for name in (*SEEN, *UNSEEN):
        (tmp_path / "images" / name).mkdir(parents=True)
        for image in sorted((aid / "images" / name).iterdir())[:IMAGES]:
            (tmp_path / "images" / name / image.name).symlink_to(image)
    pack_small(tmp_path)
    (tmp_path / "config.yaml").write_text(dump(small_config(tmp_path)))
    code, output = dsva.run("train", tmp_path / "config.yaml", "train.steps=60")
    assert code == 0, output
    losses = column(tmp_path / "run", "loss/total")
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert results(tmp_path / "run")["images"] == {"train": 48, "seen_test": 12, "unseen_test": 30}
    assert results(tmp_path / "run")["heads"]["main"]["gzsl"]["seen"] > 1 / 6
