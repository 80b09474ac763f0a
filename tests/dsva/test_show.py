import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from dsva.attributes.show import shown, similar
from dsva.protocol.attribute_table import load
from launch.cli.main import app
from launch.voice import show
from shards.errors import UserError

AID_TABLE = Path(__file__).parents[2] / "configs" / "aid" / "class_attributes.json"


def invoke(*arguments: str) -> str:
    return CliRunner().invoke(app, ["attributes", *arguments], catch_exceptions=False).output


def test_similar_classes_are_those_with_the_highest_correlation_over_centred_columns() -> None:
    table = load(AID_TABLE)
    found = similar(table)
    centred = table.matrix.astype(float) - table.matrix.mean(0)
    for i, name in enumerate(table.classes):
        cosines = {
            other: centred[i] @ centred[j] / np.linalg.norm(centred[i]) / np.linalg.norm(centred[j])
            for j, other in enumerate(table.classes)
            if j != i
        }
        best = sorted(cosines, key=lambda other: -cosines[other])[:3]
        assert [near.name for near in found[name]] == best
        assert [near.cosine for near in found[name]] == pytest.approx([cosines[other] for other in best], abs=1e-5)
    assert found["DenseResidential"][0].name == "MediumResidential"


def test_the_terminal_shows_every_class_group_and_neighbour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps({"classes": ["A", "B"], "groups": {"g": ["x", "y"], "h": ["[z]"]}, "matrix": [[0, 3, 1], [1, 3, -1]]})
    )
    show(*shown(load(tmp_path / "a.json")))
    text = capsys.readouterr().out
    assert "A |  |█|" in text
    assert "B |█ | |" in text
    assert "h: [z]" in text
    assert "B -1.00" in text
    assert "how the rows were made is not recorded" in text


def test_equal_rows_and_attributes_that_do_not_vary_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"classes": ["森林", "[b]", "C"], "groups": {"g": ["x", ":y:"]}, "matrix": [[1, 2], [1, 2], [3, 2]]}
    (tmp_path / "a.json").write_text(json.dumps(value))
    show(*shown(load(tmp_path / "a.json")))
    text = capsys.readouterr().out
    assert "equal rows, which no score can tell apart: 森林, [b]" in text
    assert "the same in all classes, 1 attributes: :y:" in text
    assert "森林 |  |" in text
    assert "   C |█ |" in text


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.mat"])
def test_what_is_no_number_is_refused_by_its_class_and_attribute(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.json":
        path.write_text('{"classes": ["A", "B"], "groups": {"g": ["attribute 1", "attribute 2"]}, "matrix": [[0, 1], [1, NaN]]}')
    elif name == "a.csv":
        path.write_text("class,attribute 1,attribute 2\nA,0,1\nB,1,nan\n")
    else:
        savemat(path, {"att": np.array([[0, 1], [1, np.nan]]), "allclasses_names": np.array([["A"], ["B"]], object)})
    with pytest.raises(UserError, match=rf"{name}: class 'B', attribute 'attribute 2' is not a finite number: correct it"):
        invoke("show", str(path))


def test_the_picture_is_a_png_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        assert f"drawn: {tmp_path / name}" in invoke("show", f"{AID_TABLE}", "--png", f"{tmp_path / name}")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 100


def test_published_tables_are_brought_in(tmp_path: Path) -> None:
    names = np.array([["Pond"], ["Park"]], object)
    savemat(tmp_path / "a.mat", {"att": np.array([[1, 0.25], [0, 1], [0.5, 1 / 3]]), "allclasses_names": names})
    assert "x 3 attributes" in invoke("import", f"{tmp_path / 'a.mat'}", f"{tmp_path / 'a.json'}")
    first, second = load(tmp_path / "a.mat"), load(tmp_path / "a.json")
    assert second.meaning == "imported from a.mat"
    assert (second.classes, second.names, second.groups) == (first.classes, first.names, first.groups)
    assert second.matrix.tobytes() == first.matrix.tobytes()
    with pytest.raises(UserError, match=r"a\.csv does not end in \.json"):
        invoke("import", f"{tmp_path / 'a.mat'}", f"{tmp_path / 'a.csv'}")
