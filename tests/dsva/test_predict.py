"""Predictions are those of evaluation, whatever way the images come; new classes need a row and no training."""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsva.evaluation.decisions_file import DecisionsFile
from dsva.evaluation.results import Results
from dsva.inference.candidates import read_rows
from dsva.inference.predict import Predictions, predict
from dsva.inference.viewer import New, Viewer
from dsva.protocol.attribute_table import load
from dsva.run_directory import DECISIONS, RESULTS
from launch.cli.main import main
from shards.errors import UserError
from shards.index import ShardSet
from shards.loader import Reader
from tests.helpers.drawn import ATTRIBUTES
from tests.helpers.small_runs import IMAGES, SEEN, UNSEEN


def row(name: str) -> dict[str, float]:
    table = load(ATTRIBUTES)
    return dict(zip(table.names, map(float, table.rows([name])[0]), strict=True))


def first(made: Predictions) -> list[str]:
    return [image.ranked[0][0] for image in made.images]


@pytest.mark.parametrize("head", ["proto", "main"])
def test_predictions_on_the_shard_set_are_the_decisions_of_evaluation(run_dir: Path, head: str) -> None:
    kept = DecisionsFile.read(run_dir / DECISIONS, Results.read(run_dir / RESULTS))
    decided, classes = kept.decisions[head], (*SEEN, *UNSEEN)
    among_all = predict(Viewer.open(run_dir, head), [str(run_dir.parent / "shards")], 1)  # type: ignore[arg-type]
    wanted = np.where(decided.breaks >= 0, decided.seen, decided.unseen)
    assert [first(among_all)[sample] for sample in kept.ids] == [classes[place] for place in wanted]
    assert [image.true for image in among_all.images] == [image.image.split("/")[0] for image in among_all.images]
    assert len(among_all.images) == len(classes) * IMAGES
    alone = predict(Viewer.open(run_dir, head, ["unseen"]), [str(run_dir.parent / "shards")], 1)  # type: ignore[arg-type]
    assert [first(alone)[sample] for sample in kept.ids] == [classes[place] for place in decided.unseen]


def test_files_folders_shards_and_keys_give_the_same(run_dir: Path, tmp_path: Path) -> None:
    """The packed images, written out as files, in another order of batches."""
    viewer, shards = Viewer.open(run_dir, "proto"), ShardSet.open(run_dir.parent / "shards")
    folder = tmp_path / "Pond"
    folder.mkdir()
    keys = [shards.key(sample) for sample in range(len(shards)) if shards.key(sample).startswith("Pond/")]
    with Reader(shards) as reader:
        for sample in range(len(shards)):
            if shards.key(sample) in keys:
                (folder / f"{shards.key(sample).split('/')[1]}.jpg").write_bytes(reader.bytes(sample))
    by_key, by_folder = predict(viewer, keys, 9), predict(viewer, [str(folder)], 9)
    by_file = predict(viewer, [str(folder / f"{key.split('/')[1]}.jpg") for key in keys], 9)
    by_set = [image for image in predict(viewer, [str(shards.root)], 9).images if image.image in keys]
    scores = [dict(image.ranked) for image in by_key.images]
    for made in (by_file.images, by_set):
        for ours, theirs in zip(scores, made, strict=True):
            assert ours == pytest.approx(dict(theirs.ranked), abs=1e-4)
    assert sorted(map(str, scores)) == sorted(str(dict(image.ranked)) for image in by_folder.images)
    assert {image.true for image in by_folder.images} == {"Pond"}


def test_a_class_by_its_row_scores_like_the_class_of_that_row(run_dir: Path, tmp_path: Path) -> None:
    shards = str(run_dir.parent / "shards")
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps({"my pond": row("Pond"), "my square": row("Square")}))
    known = predict(Viewer.open(run_dir, "proto", ["Pond", "Square"]), [shards], 2)
    new = predict(Viewer.open(run_dir, "proto", new=New(rows)), [shards], 2)
    renamed = {"Pond": "my pond", "Square": "my square"}
    assert [[(renamed[name], score) for name, score in image.ranked] for image in known.images] == [
        list(image.ranked) for image in new.images
    ]
    both = predict(Viewer.open(run_dir, "proto", ["seen"], New(rows)), [shards], 8)
    assert {name for name, _ in both.images[0].ranked} == {*SEEN, "my pond", "my square"}


def test_rows_come_as_csv_json_or_table_in_any_order_of_attributes(tmp_path: Path) -> None:
    table = load(ATTRIBUTES)
    pond = row("Pond")
    shuffled = dict(sorted(pond.items(), key=lambda item: item[1]))
    (tmp_path / "a.json").write_text(json.dumps({"new": shuffled}))
    lines = [["class", *shuffled], ["new", *map(str, shuffled.values())]]
    (tmp_path / "b.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    (tmp_path / "c.json").write_text(
        json.dumps({"classes": ["new"], "groups": {"g": list(shuffled)}, "matrix": [list(shuffled.values())]})
    )
    for name in ("a.json", "b.csv", "c.json"):
        read = read_rows(tmp_path / name, table)
        assert read.names == ("new",)
        np.testing.assert_array_equal(read.strengths, table.rows(["Pond"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda strengths: strengths.pop(next(iter(strengths))), "has no number for"),
        (
            lambda strengths: strengths.update({next(iter(strengths)): float("nan")}),
            "=nan: Input should be a finite number: correct the file$",
        ),
        (lambda strengths: strengths.update({next(iter(strengths)): "high"}), "='high': Input should be a valid number"),
        (lambda strengths: strengths.update({next(iter(strengths)): True}), "=True: Input should be a valid number"),
        (lambda strengths: strengths.update({next(iter(strengths)): 1e39}), "less than or equal to 34028234"),
        (lambda strengths: strengths.update({next(iter(strengths)): 10**400}), "Input should be a valid number"),
        (lambda strengths: strengths.update({"no such thing": 1}), "has the attribute 'no such thing'"),
    ],
)
def test_rows_that_do_not_fit_the_table_are_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], object], said: str
) -> None:
    strengths: dict[str, object] = {**row("Pond")}
    change(strengths)
    (tmp_path / "rows.json").write_text(json.dumps({"new": strengths}))
    with pytest.raises(UserError, match=said):
        read_rows(tmp_path / "rows.json", load(ATTRIBUTES))
    (tmp_path / "rows.json").write_text('{"new": 3}')
    with pytest.raises(UserError, match=r"rows.json: new=3: Input should be a valid dictionary: correct the file"):
        read_rows(tmp_path / "rows.json", load(ATTRIBUTES))


def test_new_classes_by_the_attributes_that_their_text_names(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["predict", run_dir, "Pond/pond_1", "--class", "Forest", "--new", "Reservoir: ponds and trees, no sand"]
    assert call(monkeypatch, *given, "--out", tmp_path / "made.json") == 0
    assert "Reservoir: by its words: " in capsys.readouterr().err
    made = json.loads((tmp_path / "made.json").read_text())
    assert made["candidates"] == ["Forest", "Reservoir"]
    assert made["new_classes"]["Reservoir"].startswith("by its words: ")
    for text, sentence in (
        ("Pond: water", "'Pond' is in the run's attribute table"),
        ("Moon: craters", "'craters' names none of the run's attributes"),
        (": water", "has no name"),
    ):
        assert call(monkeypatch, "predict", run_dir, "Pond/pond_1", "--new", text) == 2
        assert sentence in capsys.readouterr().err
    assert call(monkeypatch, "predict", run_dir, "Pond/pond_1", "--clip", "x") == 2
    assert "give a class with --new" in capsys.readouterr().err


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["dsva", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_bad_images_are_listed_and_the_others_predicted(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(run_dir.parent / "images" / "Pond", folder)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "cut.jpg").write_bytes((folder / "pond_1.jpg").read_bytes()[:3000])
    Image.new("I;16", (64, 64)).save(folder / "deep.png")
    Image.new("L", (90, 70)).save(folder / "grey.png")
    (folder / "._pond_1.jpg").write_bytes(b"")
    (folder / "@eaDir").mkdir()
    shutil.copy(folder / "pond_1.jpg", folder / "@eaDir")
    (folder / "pond.webp").write_bytes(b"RIFF")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.jpg").symlink_to("nowhere")
    (folder / "around").symlink_to(folder)
    assert call(monkeypatch, "predict", run_dir, folder, "--out", tmp_path / "made.json", "--top", 2) == 2
    said = capsys.readouterr().err
    assert f"{IMAGES + 1} images in" in said
    assert "images/s" in said
    made = json.loads((tmp_path / "made.json").read_text())
    assert {Path(bad["image"]).name for bad in made["bad"]} == {"empty.jpg", "text.png", "cut.jpg", "deep.png"} | {
        "pipe.jpg",
        "gone.jpg",
    }
    assert made["ignored"] == {"hidden": 1, "@eaDir folder": 1, ".webp": 1, "link to a folder around it": 1}
    assert "no images: 1 hidden, 1 @eaDir folder, 1 link to a folder around it, 1 .webp" in said
    assert all(Path(bad["image"]).name in said for bad in made["bad"])
    assert len(made["predictions"]) == IMAGES + 1
    assert made["checkpoint_sha256"] == Results.read(run_dir / RESULTS).provenance.checkpoint_sha256


def test_csv_is_printed_or_written(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["predict", run_dir, "Pond/pond_1", "Bridge/bridge_1", "--class", "Pond", "--class", "Bridge"]
    assert call(monkeypatch, *given) == 0
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [(line["image"], line["true"]) for line in rows] == [("Pond/pond_1", "Pond"), ("Bridge/bridge_1", "Bridge")]
    assert all({line["class_1"], line["class_2"]} == {"Pond", "Bridge"} for line in rows)
    assert all(float(line["score_1"]) >= float(line["score_2"]) for line in rows)
    assert call(monkeypatch, *given, "--out", tmp_path / "made.csv") == 0
    assert (tmp_path / "made.csv").read_text() == printed
    assert call(monkeypatch, *given, "--out", tmp_path / "made.txt") == 2
    assert "must end in .csv or .json" in capsys.readouterr().err


def test_candidates_with_equal_rows_are_told(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({"[Mere]": row("Pond"), "Reservoir": row("Port")}))
    given = ["predict", run_dir, "Pond/pond_1", "--class", "unseen", "--rows", tmp_path / "rows.json"]
    assert call(monkeypatch, *given) == 0
    assert capsys.readouterr().err.count("warning: Pond, [Mere] have equal rows: no score can tell these classes apart\n") == 1


def test_all_images_bad_is_told_too(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    assert call(monkeypatch, "predict", run_dir, tmp_path / "bad.jpg", "--out", tmp_path / "made.csv") == 2
    assert (tmp_path / "made.csv").read_text() == "image,true\n"


def test_a_damaged_sample_of_a_set_is_bad_and_the_rest_is_predicted(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shards"
    shutil.copytree(run_dir.parent / "shards", copy)
    (tar,) = copy.glob("*.tar")
    with tar.open("r+b") as file:
        file.seek(700)
        file.write(b"damage")
    made = predict(Viewer.open(run_dir, "proto"), [str(copy)], 1)
    assert (len(made.images), len(made.unused.bad)) == (9 * IMAGES - 1, 1)
    assert "its bytes are not those that were packed" in made.unused.bad[0].reason
