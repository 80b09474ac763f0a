"""The configuration: documented, typed, and every mistake is one sentence. 10 s."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from dsva.config import Config, check, dump, load
from dsva.json_files import read_json
from dsva.settings import Section, absolute, documentation
from shards.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
KEYS = [key for key, _, _ in documentation(Config)]
SECTIONS = list(Config.model_fields)
# Each line names the one before it twice, so that the last stands for 2^40 values.
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "config.yaml"


def loaded(file: Path, text: str, *overrides: str) -> Config:
    file.write_text(text)
    return load(file, overrides)


def refusal(file: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        loaded(file, text, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_field_is_described_in_a_sentence() -> None:
    assert len(KEYS) == len(set(KEYS)) > 50
    for key, _, meaning in documentation(Config):
        assert meaning.rstrip().endswith("."), key
        assert len(meaning) > 15, key


@pytest.mark.parametrize("path", sorted([*CONFIGS.glob("*.yaml"), *CONFIGS.glob("reference/*.yaml")]), ids=lambda path: path.name)
def test_every_configuration_of_the_project_loads(path: Path) -> None:
    config = load(path)
    assert config.classes.attributes.is_file() or path.parent.name == "reference" or path.stem == "rssdivcs"
    if config.classes.splits:
        assert config.classes.split in yaml.safe_load(config.classes.splits.read_text())


@pytest.mark.parametrize("key", SECTIONS + KEYS)
def test_a_key_with_a_letter_too_many_is_refused_and_the_right_one_named(file: Path, key: str) -> None:
    wrong = f"{key}x"
    section, _, name = wrong.partition(".")
    for sentence in (
        refusal(file, yaml.safe_dump({section: {name: 1} if name else {}})),
        refusal(file, "", f"{wrong}=1"),
    ):
        assert f"no key {wrong!r}" in sentence
        assert f"did you mean {key!r}?" in sentence


def test_a_key_like_no_other_is_refused(file: Path) -> None:
    assert "no key 'zzzzzzzzqqq'; `dsva config` lists all keys" in refusal(file, "zzzzzzzzqqq: 1")


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("train.steps=0", "train.steps=0"),
        ("train.steps=many", "train.steps='many'"),
        ("train.steps=", "train.steps=None"),
        ("train=5", "train=5"),
        ("train.steps.more=5", "train.steps={'more': 5}"),
        ("train..steps=5", "is not of the form"),
        ("optimizer.lr=-1", "optimizer.lr=-1"),
        ("optimizer.lr=.inf", "optimizer.lr='.inf'"),
        ("optimizer.lr=inf", "optimizer.lr='inf'"),
        ("eval.gamma=nan", "eval.gamma='nan'"),
        ("model.region_weight=nan", "model.region_weight='nan'"),
        ("optimizer.betas=[0.9, 1.0]", "optimizer.betas.1=1"),
        ("optimizer.betas=[0.9]", "optimizer.betas.1"),
        ("run.seed=18446744073709551616", "run.seed=18446744073709551616"),
        ("run.seed=-1", "run.seed=-1"),
        ("data.resize=16", "data: resize=16 is smaller than image_size=224"),
        ("data.ways=7", "data: batch_size=64 is not a multiple of ways=7"),
        ("data.batch_size", "override 'data.batch_size' is not of the form section.key=value"),
        ("=5", "override '=5' is not of the form section.key=value"),
        ("model.heads={a: 1}", "model.heads={'a': 1}"),
        ("scores.kind=cosin", "scores.kind='cosin'"),
        ("validation.partition=3", "validation.partition=3"),
        (f"train.steps={'9' * 5000}", "cannot be read"),
        ("run.dir=${oc.env:HOME}", "'${oc.env:HOME}' asks for another value"),
        ("run.dir=[", "override 'run.dir=[' cannot be read as YAML"),
        (f"train.steps={'x' * 5000}", "train.steps='xxx"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(file: Path, override: str, part: str) -> None:
    assert part in refusal(file, "", override)


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", "5", "text", "a: [", "a: &a [*a]", "\t", "2020-01-01", "? [a, b]\n: 1", "a: 1\na: {", "!!python/object:os.system {}",
     "data: ${data}", "data: ${nowhere.key}", "1: 2", "null: 2", "data: 2020-01-01", "[" * 5000,
     "a: " + "{a: " * 3000, "--- {}\n--- {}", ALIASES, MERGED, 'run: {dir: "a\\e[31m"}', "a: " + "x" * (5 << 20)],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(file: Path, text: str) -> None:
    assert str(file) in refusal(file, text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"data: \xff\xfe")
    for path in (tmp_path / "missing.yaml", tmp_path, tmp_path / "latin.yaml", tmp_path / ("n" * 300)):
        with pytest.raises(UserError, match="cannot be read"):
            load(path)


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "a\u2028b", "a\x85b", "a\udcffb", "a\0b"])
def test_what_would_begin_a_line_or_colour_a_terminal_is_refused_wherever_text_enters(file: Path, text: str) -> None:
    for key in ("run.dir", "data.shards", "classes.split", "model.backbone", "eval.validation_run"):
        section, _, name = key.partition(".")
        with pytest.raises(UserError) as caught:
            check({section: {name: text}}, "here")
        assert str(caught.value).startswith(f"here: {key}: ")
        assert str(caught.value).isprintable()
    assert check({"run": {"dir": "Länder 机场 \U0001f3d6"}}, "here").run.dir == Path("Länder 机场 \U0001f3d6")
    file.write_text("")
    with pytest.raises(UserError):
        load(file, [f"run.dir={json.dumps(text)}"])


def test_names_that_look_like_numbers_stay_names(file: Path) -> None:
    for text in ("25_5", "1_000", "0x10", "0o7", "1:30", "2020-01-01x", "1e", "."):
        assert loaded(file, f"classes: {{split: {text}}}").classes.split == text
        assert loaded(file, "", f"classes.split={text}").classes.split == text


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", ".001", "1.0e-3", "+0.001"])
def test_numbers_are_numbers_however_they_are_written(file: Path, text: str) -> None:
    assert loaded(file, f"optimizer: {{lr: {text}}}").optimizer.lr == 0.001


@pytest.mark.parametrize("name", ["a #1", "a: b", "it's", "50% [1-2]", "back\\slash"])
def test_a_folder_is_called_what_was_typed(file: Path, name: str) -> None:
    assert loaded(file, "", f"run.dir=/runs/{name}").run.dir == Path("/runs") / name


def test_class_files_are_found_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").touch()
    file = tmp_path / "config.yaml"
    config = loaded(file, "classes: {attributes: a.json, splits: nowhere.json}")
    assert config.classes.attributes == tmp_path / "a.json"
    assert config.classes.splits == Path("nowhere.json")
    monkeypatch.chdir(tmp_path)
    assert loaded(file, "classes: {attributes: a.json}").classes.attributes == Path("a.json")


def test_a_file_of_deepspeed_is_found_beside_the_configuration_and_folders_of_data_are_not(tmp_path: Path) -> None:
    for name in ("zero.json", "SET", "RUN"):
        (tmp_path / name).touch()
    config = loaded(tmp_path / "config.yaml", "{train: {deepspeed: zero.json}, data: {shards: SET}, run: {dir: RUN}}")
    assert config.train.deepspeed == tmp_path / "zero.json"
    assert (config.data.shards, config.run.dir) == (Path("SET"), Path("RUN"))


def paths(section: Section) -> Iterator[tuple[str, Path]]:
    """All paths in a section, by dotted key."""
    for name, value in section:
        if isinstance(value, Section):
            yield from ((f"{name}.{key}", path) for key, path in paths(value))
        elif isinstance(value, Path):
            yield name, value


PATHS = [
    f"{name}.{key}"
    for name, section in Config.model_fields.items()
    for key, field in getattr(section.annotation, "model_fields", {}).items()
    if "Path" in str(field.annotation)
]


def test_every_path_is_made_absolute_whatever_field_holds_it(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that is added with the type of a path is one of them, without anybody's list."""
    assert set(PATHS) >= {"data.shards", "classes.attributes", "train.deepspeed", "eval.validation_run", "run.dir"}
    config = loaded(file, "", *(f"{key}=given/{key}" for key in PATHS))
    monkeypatch.chdir(tmp_path)
    assert dict(paths(absolute(config))) == {key: tmp_path / "given" / key for key in PATHS}
    assert absolute(absolute(config)) == absolute(config)


@pytest.mark.parametrize("name", ["random", "openai/clip-vit-base-patch32", "nowhere", "n" * 5000])
def test_a_backbone_that_is_no_folder_stays_as_it_is_called(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = loaded(file, "", f"model.backbone={name}")
    monkeypatch.chdir(tmp_path)
    assert absolute(config).model.backbone == name


def test_a_backbone_that_is_a_folder_is_found_from_another_folder_and_random_is_none(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, meant in {"random": "random", "openai/clip": str(tmp_path / "openai" / "clip")}.items():
        (tmp_path / name).mkdir(parents=True)
        assert absolute(loaded(file, "", f"model.backbone={name}")).model.backbone == meant


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3), max_leaves=8)


@given(st.text(max_size=80))
@example("data: !!binary x")
@example("data: {shards: " + "s" * 5000 + "}")
def test_any_text_gives_a_configuration_or_a_sentence(file: Path, text: str) -> None:
    file.write_text(text, errors="surrogatepass")
    _config_or_sentence(file, [])


@given(
    st.dictionaries(st.sampled_from(SECTIONS) | SCALARS, st.dictionaries(st.sampled_from([k.split(".")[1] for k in KEYS]), TREES))
)
def test_any_tree_gives_a_configuration_or_a_sentence(file: Path, tree: dict[Any, Any]) -> None:
    file.write_text(yaml.safe_dump(tree))
    _config_or_sentence(file, [])


@given(
    st.lists(
        st.builds("{}{}{}".format, st.sampled_from([*KEYS, *SECTIONS, ""]), st.sampled_from(["=", "", "=="]), st.text(max_size=20))
    )
)
@example(["classes.attributes=" + "a" * 5000])
@example(["a[0=1"])
@example(["a.b[=1", "data.=1", ".data=1", "data..x=1"])
@example(["train.steps=${train.steps}"])
@example(["run.dir=${oc.env:NOWHERE}"])
@example(["classes.attributes='a\0b'"])
@example(["train.steps=!!int 'x'"])
def test_any_overrides_give_a_configuration_or_a_sentence(file: Path, overrides: list[str]) -> None:
    file.write_text("")
    _config_or_sentence(file, overrides)


def _config_or_sentence(file: Path, overrides: list[str]) -> None:
    sentence = ""
    try:
        config = load(file, overrides)
        assert config == Config.model_validate(config.model_dump())
    except UserError as error:
        sentence = str(error)
    assert "\n" not in sentence


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="$"), min_size=1, max_size=12)


@given(
    split=NAMES | st.sampled_from(["25_5", "1e-3", "0123", "1.", "yes", "null", "~", "1:30", "=", "a\\"]),
    lr=st.floats(1e-300, 1e300),
    gamma=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    seed=st.integers(0, 2**63 - 1),
    shards=NAMES.map(Path),
)
def test_what_is_written_is_read_back(file: Path, split: str, lr: float, gamma: float | None, seed: int, shards: Path) -> None:
    sections = {
        "classes": {"split": split},
        "optimizer": {"lr": lr},
        "eval": {"gamma": gamma},
        "run": {"seed": seed},
        "data": {"shards": shards},
    }
    config = check(sections, "test")
    assert loaded(file, dump(config)) == config


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("train: {steps: 2}\ndata: {}\ntrain: {accumulation: 1}\n")
    with pytest.raises(UserError, match="line 3: the key 'train' is there twice"):
        load(file)
    file.with_suffix(".json").write_text('{"a": 1, "b": {"c": 2, "c": 3}}')
    with pytest.raises(UserError, match="the key 'c' is there twice"):
        read_json(file.with_suffix(".json"))


def test_an_override_of_thousands_of_sections_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match="is not of the form"):
        load(file, [f"{'a.' * 3000}b=1"])
