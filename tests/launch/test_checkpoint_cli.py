"""`dsva checkpoint` on a finished run."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from dsva.evaluation.results import Results
from dsva.evaluation.tables import summary
from dsva.inference.trained_run import Trained
from dsva.model.dsva import DSVA
from dsva.model.exported import Exported
from dsva.run_directory import RESULTS
from dsva.runs.checkpoint import weights_sha256
from launch.cli.main import app
from shards.errors import UserError
from tests.helpers.small_runs import small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validation run with mean weights and two checkpoints, of which one is the best."""
    given = ["train.ema=0.5", "validation.partition=0", "validation.every=1", "run.checkpoint_every=2", "model.regions=true"]
    return small_run(tmp_path_factory.mktemp("run"), given)


def checkpoint(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["checkpoint", *map(str, arguments)])


def test_ls(run: Path) -> None:
    result = checkpoint("ls", run)
    assert result.exit_code == 0
    assert result.output.count("step-0000000") == 2
    assert result.output.count("(best)") == 1
    assert result.output.count("ddp x 1") == 3


def test_verify(run: Path, tmp_path: Path) -> None:
    assert checkpoint("verify", run).output.count("every byte is as it was written") == 3
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "step-00000003" / "state.json"
    file.write_text(file.read_text().replace("3", "4"))
    result = checkpoint("verify", tmp_path / "run")
    assert "step-00000003: state.json is missing or damaged" in result.output
    assert isinstance(result.exception, UserError)
    assert "1 of 3 checkpoints are damaged" in str(result.exception)
    assert checkpoint("ls", tmp_path / "run").exit_code == 0


def test_no_checkpoints(tmp_path: Path) -> None:
    for command in ("ls", "verify"):
        assert isinstance(checkpoint(command, tmp_path).exception, UserError)


def test_exported_model_is_the_run(run: Path, tmp_path: Path) -> None:
    assert checkpoint("export", run, tmp_path / "model").exit_code == 0
    trained, model, exported = Trained.open(run), DSVA.from_pretrained(tmp_path / "model"), Exported.read(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    trained.model.eval()
    with torch.no_grad():
        ours, theirs = trained.model(images, regions=True), model(images, regions=True)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    rows, device = trained.experiment.class_rows(torch.device("cpu")), torch.device("cpu")
    assert torch.equal(rows.scores(ours.proto), exported.class_rows(device).scores(theirs.proto))
    assert exported.classes == trained.experiment.sets.classes
    assert exported.source.checkpoint_sha256 == trained.checkpoint.sha256


def test_model_card_tells_where_the_model_comes_from_and_how_it_scores(run: Path, tmp_path: Path) -> None:
    checkpoint("export", run, tmp_path / "model")
    text, results = (tmp_path / "model" / "README.md").read_text(), Results.read(run / RESULTS)
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["pipeline_tag"] == "zero-shot-image-classification"
    assert f"Seen in training ({len(results.seen)}): {', '.join(results.seen)}." in body
    assert f"Never seen ({len(results.unseen)}): {', '.join(results.unseen)}." in body
    assert summary(results).markdown() in body
    assert f"| shard set, digest | {results.provenance.data_digest} |" in body
    assert results.provenance.attributes_sha256 in body
    assert "{" not in re.sub("```.*?```", "", body, flags=re.DOTALL)


def test_the_cards_example_runs(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint("export", run, tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    shutil.copy(run.parent / "images" / "Pond" / "pond_1.jpg", "scene.jpg")
    (example,) = re.findall("```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out.strip() in Exported.read(Path()).classes


def test_best_is_exported(run: Path, tmp_path: Path) -> None:
    checkpoint("export", run, tmp_path / "model", "--best")
    best = next((run / "checkpoints").glob("best-*"))
    step = int(best.name.removeprefix("best-"))
    assert Exported.read(tmp_path / "model").source.step == step
    scored = step == Results.read(run / RESULTS).provenance.checkpoint_step
    assert ("This checkpoint was not scored." in (tmp_path / "model" / "README.md").read_text()) != scored


def test_an_older_checkpoint_is_never_shown_in_silence(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    before = Results.read(copy / RESULTS).provenance
    for path in (copy / "checkpoints").glob("*-00000003"):
        (path / "state.json").write_text("{}")
    image, out = str(run.parent / "images" / "Pond" / "pond_1.jpg"), tmp_path / "out.json"
    told = ["step-00000003 is not used: state.json is missing or damaged", "what follows is of the weights after step 2"]
    result = CliRunner().invoke(app, ["report", str(copy)])
    assert isinstance(result.exception, UserError)
    assert "is of the weights after step 3" in str(result.exception)
    assert "put it back, or score the newest one with `dsva eval`" in str(result.exception)
    for command in (["eval"], ["predict", image, "--out", str(out)], ["explain", image, "--out", str(tmp_path / "why")]):
        result = CliRunner().invoke(app, [command[0], str(copy), *command[1:]], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert all(sentence in result.stderr for sentence in told), result.stderr
    after = Results.read(copy / RESULTS).provenance
    assert (before.checkpoint_step, after.checkpoint_step) == (3, 2)
    for shown in (json.loads(out.read_text()), json.loads((tmp_path / "why" / "explanations.json").read_text())):
        assert {key: shown[key] for key in ("checkpoint_sha256", "weights_sha256")} == {
            "checkpoint_sha256": after.checkpoint_sha256,
            "weights_sha256": after.weights_sha256,
        }
    assert before.weights_sha256 != after.weights_sha256 == weights_sha256(Trained.open(copy).model)
    assert CliRunner().invoke(app, ["report", str(copy)]).exit_code == 0
    assert after.weights_sha256 in (copy / "report.html").read_text()


def test_export_needs_a_new_folder(run: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").touch()
    assert "is not an empty folder" in str(checkpoint("export", run, tmp_path / "model").exception)


def change_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def change_config(**changes: Any) -> Callable[[Path], None]:
    """Return what changes values of config.json by their dotted names."""

    def change(folder: Path) -> None:
        value = json.loads((folder / "config.json").read_text())
        for name, new in changes.items():
            section, _, key = name.rpartition("__")
            (value[section] if section else value)[key] = new
        (folder / "config.json").write_text(json.dumps(value))

    return change


MANY = {"attributes": [str(number) for number in range(20_000)], "groups": {str(number): [number] for number in range(20_000)}}


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (change_weights, "model.safetensors is missing or not what config.json describes"),
        (change_config(model__prototype_bias=True), "model.safetensors does not fit config.json"),
        (
            change_config(clip__num_attention_heads=256),
            "config.json: clip: attention heads do not divide the width, or patches the image: export the run again",
        ),
        # 2 TB, were the claim believed.
        (change_config(clip__hidden_size=1 << 14, clip__num_hidden_layers=256), "bytes that config.json claims"),
        (change_config(**MANY), "20,000 groups of 20,000 attributes are too many"),
        (
            change_config(classes=["a\x1b[31m", "b", "c", "d", "e"]),
            "config.json: a name has a control character: export the run again",
        ),
        (
            lambda folder: (folder / "config.json").write_text("{}"),
            "config.json: there is no 'weights_sha256', which is needed: export the run again",
        ),
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
    ],
)
def test_damaged_export_is_refused(run: Path, tmp_path: Path, damage: Callable[[Path], None], named: str) -> None:
    checkpoint("export", run, tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(UserError) as raised:
        DSVA.from_pretrained(tmp_path / "model")
    assert named in str(raised.value)
