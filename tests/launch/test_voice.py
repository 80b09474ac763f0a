"""How the command line speaks: who, how much, where to; and no name is more than a name in it."""

import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from dsva.config import load
from dsva.train.run import run
from launch import voice
from launch.cli.main import app, main
from launch.doctor.finding import Finding
from launch.doctor.table import view
from launch.jobs.folder import JobFolder
from launch.submission.job import Job
from shards.pack import pack
from shards.sources import open_source
from tests.helpers.noise import Noise, noise
from tests.helpers.tiny_clip import tiny_clip

NAMES = ("[x]", "[bold]", ":cat:", "50 %s {0}", "a\\", "class_5", "[red]p", ":joy: q")  # the last two are unseen
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _mute() -> Iterator[None]:
    """Leave logging as it was."""
    loggers = [logging.getLogger(name) for name in ("", *voice.PACKAGES)]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Noise:
    """Classes whose names mean something to rich, to logging or to a shell."""
    made = noise(tmp_path_factory.mktemp("noise"))
    for place, name in enumerate(NAMES):
        (made.root / "DATA" / f"class_{place}").rename(made.root / "DATA" / name)
    pack(open_source(made.root / "DATA"), made.root / "NAMES")
    for file in ("attributes.json", "splits.json"):
        text = (made.root / file).read_text()
        for place, name in enumerate(NAMES):
            text = text.replace(f'"class_{place}"', json.dumps(name))
        (made.root / file).write_text(text)
    values = yaml.safe_load(made.config.read_text())
    values["data"]["shards"] = str(made.root / "NAMES")
    values["train"]["steps"] = 2
    made.config.write_text(yaml.safe_dump(values))
    return made


def dsva(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def test_names_are_names_in_every_message_and_answer(data: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("[/v]x :x: %s")
    trained = dsva("train", str(data.config), f"run.dir='{folder}'")
    assert (trained.exit_code, f"written: {folder}/results.json" in trained.stdout) == (0, True)
    assert "starting from step 0\nstep 1  loss/total" in trained.stderr
    [checkpoint] = (folder / "checkpoints").iterdir()
    (checkpoint / "more [x] :x:").touch()
    expected = {
        ("eval", folder): (f"written: {folder}/results.json", f"warning: {checkpoint}/more [x] :x: is not"),
        ("report", folder, "--images", 2): (f"written: {folder}/report.html", f"warning: {folder}/checkpoints"),
        ("predict", folder, data.root / "DATA", "--class", "unseen"): (f"/{NAMES[-1]}/0.jpg,", "images in folders of a candidate"),
        ("explain", folder, f"{NAMES[-1]}/0", "--class", "unseen"): (f"{NAMES[-1]}/0: ", "warning: "),
        ("checkpoint", "ls", folder): (f"{folder}\n", ""),
        ("shards", "info", data.root / "NAMES"): (f"│ {NAMES[0]} ", ""),
        ("attributes", "show", data.root / "attributes.json"): (f" {NAMES[-1]} |", ""),
    }
    for command, (answer, message) in expected.items():
        done = dsva(*command)
        assert done.exit_code == 0, command
        assert answer in done.stdout, command
        assert message in done.stderr, command
    (checkpoint / "rank-00000-of-00001.safetensors").unlink()
    monkeypatch.setattr(sys, "argv", ["dsva", "eval", str(folder)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2


def test_names_of_sweeps_their_cells_and_of_tables_are_names(data: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("[/v]s :x:")
    file = {"config": str(data.config), "splits": {"[b] :x:": {}}, "protocols": {"ZSL": {"set": {"classes.seen_test_share": 0}}}}
    Path("sweep.yaml").write_text(yaml.safe_dump(file))
    started = dsva("sweep", "start", "sweep.yaml", folder, "--cluster", "debug")
    assert started.exit_code == 0
    assert "1 new cells\n" in started.stderr
    [cell] = (folder / "cells").iterdir()
    JobFolder(cell).fail("[/v] :x:", 2)
    (cell / "job" / "done.json").unlink()
    shown = dsva("sweep", "status", folder).stdout
    assert f"{folder}: 1 FAILED" in shown
    assert f"{cell.name}: [/v] :x:" in shown
    assert "[b] :x:" in dsva("sweep", "table", folder).stdout
    out = Path("[/v] :x:.json")
    words = ROOT / "configs" / "attributes" / "overhead.yaml"
    classes = ("--classes", data.root / "splits.json", "--split", "split", "--vocabulary", words)
    built = dsva("attributes", "build", "--clip", tiny_clip(tmp_path / "[clip]"), *classes, "--out", out)
    assert built.stdout.startswith(f"{out}: 8 classes x ")
    voice.show(view([Finding("renames", "FAIL", "[/v] :x:", "a\\", "node[1-2] :x:")]))


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        (("-q", "eval", "R"), {"warning"}),
        (("eval", "--quiet", "R"), {"warning"}),
        (("eval", "R", "-q"), {"warning"}),
        (("eval", "R"), {"info", "warning"}),
        (("eval", "R", "--verbose"), {"debug", "info", "warning"}),
        (("-v", "eval", "R"), {"debug", "info", "warning"}),
    ],
)
def test_how_much_is_said_can_be_said_before_and_after_the_command(
    words: tuple[str, ...], heard: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def speak(*_: object) -> list[str]:
        for level in voice.LEVELS:
            logging.getLogger("dsva.some.module").log(voice.LEVELS[level], "heard: %s", level)
        return ["the answer"]

    monkeypatch.setattr("dsva.inference.trained_run.evaluate_run", lambda *_: None)
    monkeypatch.setattr("dsva.evaluation.evaluate.told", speak)
    said = dsva(*words)
    assert said.stdout == "the answer\n"
    assert {level for level in voice.LEVELS if f"heard: {level}\n" in said.stderr} == heard
    assert "warning: heard: warning" in said.stderr


def test_the_environment_says_it_too_and_a_wrong_word_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for value, level in (("debug", "debug"), ("WARNING", "warning"), ("", "info")):
        monkeypatch.setenv(voice.LOG, value)
        voice.set_up()
        assert voice.level() == level
    for value, words, sentence in (
        (
            "loud",
            ["config"],
            "error: the environment variable DSVA_LOG='loud' is no level: set it to debug, info, warning",
        ),
        ("", ["config", "-q", "-v"], "error: --quiet and --verbose contradict each other: give one of them"),
    ):
        monkeypatch.setenv(voice.LOG, value)
        monkeypatch.setattr(sys, "argv", ["dsva", *words])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 2
        said = capsys.readouterr()
        assert (said.err.startswith(sentence), said.err.count("\n"), said.out) == (True, 1, "")


def test_other_ranks_tell_errors_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    srun = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "n1",
    }
    for environment in (torchrun, {**srun, "SLURM_PROCID": "1"}):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            voice.set_up()
            logging.getLogger("shards.pack").warning("one")
            logging.getLogger("launch").error("two")
            voice.show("three")
            assert (capsys.readouterr().err, capsys.readouterr().out) == ("error: two\n", "")
            patch.setenv("RANK" if "RANK" in environment else "SLURM_PROCID", "0")
            voice.set_up()
            logging.getLogger("shards.pack").info("one")
            voice.show("three")
            said = capsys.readouterr()
            assert (said.err, said.out) == ("one\n", "three\n")


def test_a_job_puts_the_time_before_every_message(data: Noise, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load(data.config, [f"run.dir={tmp_path / 'R'}"])
    folder = JobFolder(config.run.dir)
    assert run(config) == 0
    folder.path.mkdir()
    folder.config.write_text((config.run.dir / "config.yaml").read_text())
    logging.getLogger().handlers[:] = []
    capsys.readouterr()
    assert Job(config.run.dir)() == 0
    said = capsys.readouterr()
    assert f"written: {config.run.dir}" in said.out
    for line in said.err.splitlines():
        assert line[:4].isdecimal(), line
        assert line[19] == " ", line
    assert f" continuing from {config.run.dir}" in said.err


def test_who_imports_it_hears_what_he_asks_for(data: Noise, tmp_path: Path) -> None:
    program = f"""
import logging, sys
from pathlib import Path
from dsva.config import load
from dsva.train.run import run
assert not logging.getLogger().handlers and not any(logging.getLogger(name).handlers for name in ("shards", "dsva", "launch"))
if sys.argv[1:]: logging.basicConfig(level="INFO", format="%(name)s %(message)s")
run(load(Path({str(data.config)!r}), [{f"run.dir={tmp_path / 'R'}"!r}]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for asked in ([], ["yes"]):
        command = [sys.executable, "-c", program, *asked]
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        assert said.stdout == ""
        assert all("is not told" in line for line in said.stderr.splitlines()) == (not asked)  # a warning, as Python shows it
    assert "dsva.train.resume continuing from" in said.stderr


def test_on_a_terminal_a_bar_is_drawn_and_messages_stay_whole(data: Noise, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "launch", "train", str(data.config), f"run.dir={tmp_path / ('long' * 40)}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:  # the other side is closed
            pass
        assert process.stdout
        answer = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 0
    assert "training" in said.decode()
    assert "step 1 " not in said.decode()
    assert b"\x1b[1;33mwarning: \x1b[0mhow the rows" in said
    assert f"written: {tmp_path / ('long' * 40)}/results.json" in answer
    assert "\x1b" not in answer


def test_what_cannot_be_said_ends_nothing(data: Noise, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "launch", "train", str(data.config), f"run.dir={tmp_path / 'R'}"]
    with Path("/dev/full").open("wb") as full:
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, stderr=full, stdout=subprocess.DEVNULL)
    assert (tmp_path / "R" / "results.json").is_file()
    voice.set_up()
    [handler] = [each for each in logging.getLogger().handlers if each.__module__ == voice.__name__]
    handler.handle(logging.LogRecord("dsva", logging.WARNING, "", 0, "%d of %d", ("three",), None))
    handler.handle(logging.LogRecord("dsva", logging.WARNING, "", 0, "of %s", ("a\x1b[2Jname",), None))
    assert capsys.readouterr().err.endswith("warning: of a\\x1b[2Jname\n")
