"""The names that programs call give what the commands give, and leave the program as it was."""

import io
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dsva
from dsva.config import Config, load
from dsva.inference.predict import predict
from dsva.inference.trained_run import Trained
from dsva.inference.viewer import Viewer
from dsva.train.stopping import SIGNALS
from shards.index import ShardSet
from shards.loader import Reader
from tests.helpers.noise import Noise


@pytest.fixture(scope="module")
def run(tiny: Noise, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on images whose side is data.resize, with regions, and a gamma of its own."""
    folder = tmp_path_factory.mktemp("api") / "run"
    given = ["data.resize=40", "model.regions=true", "train.steps=2", "eval.gamma=0.25", "train.engine=ddp"]
    results = dsva.fit(tiny.config, [*given, f"run.dir={folder}"])
    assert results.provenance.run_dir == str(folder)
    assert results == dsva.read_results(folder) == dsva.read_results(folder / "results.json")
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    return Trained.open(run, (f"run.dir={run}",)).export(run.parent / "exported")


def test_open_set(tiny: Noise) -> None:
    assert list(dsva.open_set(tiny.shards).labels) == list(ShardSet.open(str(tiny.shards)).labels)


@pytest.mark.parametrize("head", ["proto", "main"])
def test_the_answers_are_those_of_the_command(tiny: Noise, run: Path, head: str) -> None:
    files = sorted((tiny.root / "DATA" / "class_3").iterdir())
    given = [*map(str, files), str(tiny.root / "DATA" / "class_7"), str(tiny.shards), "class_1/0"]
    model = dsva.load(run, head=head, classes=["unseen", "class_2"])  # type: ignore[arg-type]
    wanted = predict(Viewer.open(run, head, ["unseen", "class_2"]), given, 2)  # type: ignore[arg-type]
    assert model.predict(given, top=2) == list(wanted.images)
    assert model.classes == ("class_6", "class_7", "class_2")
    assert model.gamma == (0.25, "given")
    assert {len(image.ranked) for image in model.predict(given)} == {3}
    best = model.predict(files)[0]
    assert (best.label, best.score) == best.ranked[0]
    assert best.true == "class_3"


def test_pictures_and_arrays_have_the_answers_of_their_files(tiny: Noise, run: Path) -> None:
    model = dsva.load(str(run))
    file = tiny.root / "DATA" / "class_0" / "3.jpg"
    picture = Image.open(file)
    for images in (picture, [picture, picture], np.asarray(picture), np.asarray(picture)[None], [np.asarray(picture), file]):
        found = model.predict(images)  # type: ignore[arg-type]
        # As many at a time: the last bits of a matrix product depend on its size.
        assert [image.ranked for image in found] == [image.ranked for image in model.predict([file] * len(found))]
    assert [image.image for image in model.predict([picture, str(file)])] == ["images[0]", str(file)]
    assert model.predict([]) == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_every_kind_of_picture_is_read_like_its_file(run: Path, tmp_path: Path, kind: str, mode: str) -> None:
    """Not square, turned by its EXIF data, with colours that have to be converted."""
    pixels = np.random.default_rng(1).integers(0, 256, (60, 90, 4), np.uint8)
    picture = Image.fromarray(pixels[:, :, :3] if mode != "RGBA" else pixels).convert(mode)
    if kind == "JPEG" and mode in ("P", "RGBA"):
        picture = picture.convert("RGB")
    file = tmp_path / f"a.{kind.lower()}"
    exif = Image.Exif()
    exif[274] = 6
    picture.save(file, kind, exif=exif)
    model = dsva.load(run)
    opened = Image.open(io.BytesIO(file.read_bytes()))  # Pillow's own way with the name of a turned TIFF of one band is wrong
    [wanted] = model.predict(file)
    assert model.predict(opened)[0].ranked == wanted.ranked
    assert model.predict(opened.rotate(180))[0].ranked != wanted.ranked


@pytest.mark.parametrize("head", ["proto", "main"])
def test_an_exported_model_answers_as_its_run(tiny: Noise, run: Path, exported: Path, tmp_path: Path, head: str) -> None:
    alone = shutil.move(shutil.copytree(exported, tmp_path / "copy"), tmp_path / "moved")
    given = [str(tiny.root / "DATA" / "class_3"), str(tiny.shards)]
    for classes in ([], ["unseen"], ["class_7", "seen"]):
        wanted = dsva.load(run, head=head, classes=classes).predict(given)  # type: ignore[arg-type]
        model = dsva.load(alone, head=head, classes=classes, gamma=0.25)  # type: ignore[arg-type]
        assert model.predict(given) == wanted
    bare = dsva.load(alone, head=head)  # type: ignore[arg-type]
    assert bare.gamma == (0.0, "zero: an exported model holds none")
    assert bare.predict(given) == dsva.load(run, head=head, gamma=0.0).predict(given)  # type: ignore[arg-type]


def test_new_classes_need_the_run(run: Path, exported: Path) -> None:
    new = ["Reservoir: round and green, not long"]
    assert dsva.load(run, new=new).classes == ("Reservoir",)
    with pytest.raises(dsva.UserError, match="sorts into its own classes only"):
        dsva.load(exported, new=new)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ("no such file", "is no image file"),
        (np.zeros((9, 9, 3)), r"images\[0\] is an array of float64 \[9, 9, 3\]"),
        ([np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 2), np.uint8)], r"images\[1\] is an array of uint8 \[9, 9, 2\]"),
        (np.zeros((2, 9, 9), np.uint8), r"is an array of uint8 \[2, 9, 9\]"),
        (Image.new("I;16", (9, 9)), r"images\[0\] is a picture of mode I;16: convert it"),
        (Image.new("CMYK", (9, 9)), "is a picture of mode CMYK"),
        ([torch.zeros(9, 9, 3)], r"images\[0\] is a Tensor"),
        ([None], "is a NoneType"),
    ],
)
@pytest.mark.parametrize("which", ["run", "exported"])
def test_what_is_no_image_is_told(request: pytest.FixtureRequest, which: str, images: object, said: str) -> None:
    with pytest.raises(dsva.UserError, match=said):
        dsva.load(request.getfixturevalue(which)).predict(images)  # type: ignore[arg-type]


def test_bad_images_are_told_or_left_out(tiny: Noise, run: Path, tmp_path: Path) -> None:
    file, bad = tiny.root / "DATA" / "class_0" / "3.jpg", tmp_path / "bad.jpg"
    bad.write_bytes(file.read_bytes()[:-400])
    cut = Image.open(io.BytesIO(bad.read_bytes()))
    model = dsva.load(run)
    with pytest.raises(dsva.UserError, match=r"bad\.jpg is a truncated .* skip_bad=True"):
        model.predict([file, bad])
    with pytest.raises(dsva.UserError, match=r"images\[0\] is truncated"):
        model.predict(cut)
    assert [image.image for image in model.predict([bad, file, cut], skip_bad=True)] == [str(file)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: dsva.load(run / "nowhere"), "nowhere is no folder: give a run directory, or a model"),
        (lambda run: dsva.load(run, gamma=float("nan")), "gamma=nan is no finite number"),
        (lambda run: dsva.load(run, classes=[3]), "classes: 3 is no name"),  # type: ignore[list-item]
        (lambda run: dsva.load(run).predict(""), "an image's name is empty"),
        (lambda run: dsva.load(run, head="both"), "head='both' is no head"),  # type: ignore[arg-type]
        (lambda run: dsva.load(run, classes=["Moon"]), "describes no class 'Moon'"),
        (lambda run: dsva.load(run.parent / "exported", classes=["Moon"]), "has no class 'Moon'"),
        (lambda run: dsva.load(run.parent / "exported", classes=["seen", "class_0"]), "are one class"),
        (lambda run: dsva.load(run).predict([], top=0), "top=0"),
        (dsva.open_set, "run"),
        (lambda run: dsva.read_results(run / "nowhere"), "is not there"),
        (lambda run: dsva.fit(run / "none.yaml"), "none.yaml"),
        (lambda run: dsva.fit(Config(), ["train.steps=1"]), "train.steps=1 are for a file"),
    ],
)
@pytest.mark.usefixtures("exported")
def test_mistakes_are_one_sentence(run: Path, call: object, said: str) -> None:
    with pytest.raises(dsva.UserError, match=said):
        call(run)  # type: ignore[operator]


def test_a_single_name_may_stand_by_itself(run: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert dsva.load(run, classes="unseen").classes == dsva.load(run, classes=["unseen"]).classes
    assert torch.get_rng_state().equal(before), "loading draws nothing from the program's random numbers"


def state() -> list[object]:
    return [
        {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        [signal.getsignal(number) for number in SIGNALS],
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.get_rng_state().tolist(),
        random.getstate(),
        str(np.random.get_state()),
        torch.get_num_threads(),
        Image.MAX_IMAGE_PIXELS,
    ]


@pytest.fixture
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("PMI_SIZE", "4")
    torch.rand(1)
    before = state()
    yield
    for was, now in zip(before, state(), strict=True):
        assert now == was


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("engines", [["ddp"], ["zero2", "zero2", "zero3", "ddp"]], ids=", ".join)
def test_training_leaves_the_program_as_it_was(
    tiny: Noise, tmp_path: Path, engines: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for number, engine in enumerate(engines):
        config = load(tiny.config, [f"run.dir={tmp_path / str(number)}", "train.steps=1", f"train.engine={engine}"])
        assert dsva.fit(config).heads["proto"].zsl >= 0
    assert capfd.readouterr().out == "", "standard output is the program's"


@pytest.mark.usefixtures("_as_before")
def test_a_run_goes_on_after_ctrl_c(tiny: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program gets the signal once the run is saved; where its own handler comes back, the call says that it stopped."""
    given = [f"run.dir={tmp_path / 'run'}", "train.steps=3"]
    decode, calls = Reader.decode, []

    def interrupted(self: Reader, sample: int, out: object) -> None:
        calls.append(sample)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        decode(self, sample, out)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            dsva.fit(tiny.config, given)
    assert not (tmp_path / "run" / "results.json").exists()
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert dsva.fit(tiny.config, given).provenance.checkpoint_step == 3


@pytest.mark.usefixtures("_as_before")
def test_training_in_a_thread_leaves_signals_alone(tiny: Noise, tmp_path: Path) -> None:
    done: list[object] = []
    given = [f"run.dir={tmp_path / 'run'}", "train.steps=1"]
    thread = threading.Thread(target=lambda: done.append(dsva.fit(tiny.config, given)))
    thread.start()
    thread.join()
    assert done


USER = """
import dsva
from pathlib import Path

shards = dsva.open_set("SHARDS")
results = dsva.fit("a.yaml", ["run.dir=RUN"], from_scratch=True)
zsl: float = results.heads["proto"].zsl
model = dsva.load(Path("RUN"), head="main", classes=["unseen"])
labels: list[str] = [record.label for record in model.predict(["a.jpg"], top=2)]
reveal_type(labels)
wrong: int = model.predict("a.jpg")[0].label
error: type[Exception] = dsva.UserError
dsva.nothing
"""


def test_a_users_program_is_checked_against_the_types(tmp_path: Path) -> None:
    """As after installation: types count there only where a package says by py.typed that it has some."""
    (tmp_path / "user.py").write_text(USER)
    venv.create(tmp_path / "env", symlinks=True)
    [installed] = (tmp_path / "env").glob("lib/python*/site-packages")
    for name in ("dsva", "shards", "launch"):
        (installed / name).symlink_to(Path(dsva.__file__).parents[1] / name)
    python = ["--python-executable", str(tmp_path / "env" / "bin" / "python")]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *python, "--cache-dir", str(tmp_path / "cache"), "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "missing library stubs" not in checked
    assert [line.split(":")[1] for line in checked.splitlines() if "error:" in line] == ["11", "13"], checked
    assert 'Revealed type is "list[str]"' in checked.replace("builtins.", ""), checked
