"""The authors' way in full: their two .mat files, their index sets, their choice on the test classes, and a table that says so."""

from pathlib import Path

import numpy as np
from scipy.io import savemat
from typer.testing import CliRunner

from dsva.evaluation.results import Results
from dsva.run_directory import RESULTS
from launch.cli.main import app
from tests.helpers.drawn import ATTRIBUTES, draw
from tests.helpers.small_runs import SEEN, SIZES, UNSEEN

IMAGES, TESTED, LEAKED = 10, 3, 2  # of each class; of a seen one held out; and of those trained on all the same


def write_files(folder: Path) -> None:
    """Draw some scenes, and write the files that tell of them: paths of another machine, and indices from 1."""
    paths, labels = [], []
    sets: dict[str, list[int]] = {name: [] for name in ("train_zsl", "train_gzsl", "test_seen", "test_unseen")}
    draw(folder / "images", IMAGES, SEEN + UNSEEN)
    for label, name in enumerate(SEEN + UNSEEN, 1):
        for number, image in enumerate(sorted((folder / "images" / name).iterdir())):
            paths.append(f"/home/someone/RSSDIVCS/{name}/{image.name}")
            labels.append(label)
            if name in UNSEEN:
                sets["test_unseen"].append(len(paths))
            else:
                sets["test_seen" if number < TESTED else "train_gzsl"].append(len(paths))
                if number >= TESTED - LEAKED:
                    sets["train_zsl"].append(len(paths))
    column = {"labels": np.array(labels)[:, None], "image_files": np.array(paths, object)[:, None]}
    savemat(folder / "res101_images.mat", column)
    indices = {f"{name}_loc_0": np.array(values)[:, None] for name, values in sets.items()}
    savemat(folder / "ann_attr_finetune_splits.mat", {"allclasses_names": np.array(SEEN + UNSEEN, object)[:, None], **indices})


def test_published_files_and_protocol_end_in_a_table_that_says_so(tmp_path: Path) -> None:
    def dsva(*arguments: object) -> None:
        made = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert made.exit_code == 0, made.output

    write_files(tmp_path)
    shards, run, config = tmp_path / "SET", tmp_path / "RUN", tmp_path / "config.yaml"
    config.write_text("")
    source = [tmp_path / "ann_attr_finetune_splits.mat", "--images", tmp_path / "images", "--split-number", 0]
    dsva("pack", *source, shards, "--resize", 64, "--workers", 1)
    given = [f"data.shards={shards}", f"classes.attributes={ATTRIBUTES}", f"run.dir={run}", *SIZES]
    dsva("train", config, *given, "eval.protocol=paper", "validation.every=1", "eval.gamma=0.7")
    results = Results.read(run / RESULTS)
    assert (set(results.seen), set(results.unseen)) == (set(SEEN), set(UNSEEN))
    tested, leaked = TESTED * len(SEEN), LEAKED * len(SEEN)
    told = f"as published, {leaked} of the {tested} test images of seen classes are trained on: S and H are not honest"
    assert told in results.warnings
    assert results.protocol == "paper"
    assert results.optimism
    assert (run / "results.md").read_text().startswith("**Paper protocol: test on own: 6 seen, 3 unseen classes")
    head = results.heads["proto"]
    assert head.gzsl
    assert head.gzsl.gamma == 0.7
    assert sum(count.total for count in head.gzsl.classes) == tested + IMAGES * len(UNSEEN)
