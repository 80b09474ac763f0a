"""Explanations are exact: contributions are what the score is the sum of."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dsva.config import ScoresConfig
from dsva.inference.classifier import Classifier
from dsva.inference.explain import Explanation, explain
from dsva.inference.viewer import Viewer
from dsva.model.dsva import Outputs
from dsva.model.losses import main_scores
from dsva.model.scores import class_rows
from dsva.report.explained import EXPLANATIONS, explain_images
from dsva.report.panels import panel
from shards.errors import UserError
from shards.user_images import Unused
from tests.helpers.small_runs import IMAGES, SEEN, UNSEEN

B, K, C, N_SEEN = 5, 7, 6, 4
CLASSES = tuple("abcdef")
NAMES = tuple(f"attribute {place}" for place in range(K))


def outputs(seed: int, regions: bool) -> Outputs:
    random = torch.Generator().manual_seed(seed)
    main, proto, region = (torch.randn(B, K, generator=random) for _ in range(3))
    zero, boxes = torch.zeros(()), torch.tensor([[2, 3, 30, 40]] * B)
    maps = torch.randn(B, K, 4, 4, generator=random)
    return Outputs(main, proto, maps, zero, zero, region if regions else None, boxes if regions else None)


def classifier(head: str, scores: ScoresConfig, gamma: float = 0.5, seed: int = 0) -> Classifier:
    strengths = torch.rand(C, K, generator=torch.Generator().manual_seed(seed + 1000))
    handicap = torch.tensor([gamma] * N_SEEN + [0.0] * (C - N_SEEN))
    return Classifier(head, CLASSES, class_rows(strengths, N_SEEN, scores), handicap, 0.7)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", ["proto", "main"])
@pytest.mark.parametrize("kind", ["cosine", "dot"])
@pytest.mark.parametrize("regions", [False, True])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_contributions_sum_to_the_scores_that_evaluation_compares(head: str, kind: str, regions: bool, seed: int) -> None:
    said, asked = outputs(seed, regions), classifier(head, ScoresConfig(kind=kind), seed=seed)
    evaluated = asked.rows.scores(said.proto) if head == "proto" else main_scores(said, asked.rows, 0.7)
    torch.testing.assert_close(asked.scores(said), evaluated)
    for i, explanation in enumerate(explain(asked, said, NAMES[:B], [""] * B, NAMES)):
        assert explanation.contributions.sum() == pytest.approx(explanation.score, abs=1e-12)
        assert explanation.rival_contributions.sum() == pytest.approx(explanation.rival_score, abs=1e-12)
        assert explanation.margins.sum() == pytest.approx(explanation.score - explanation.rival_score, abs=1e-12)
        assert explanation.score == pytest.approx(float(evaluated[i, CLASSES.index(explanation.predicted)]), abs=1e-4)


def test_the_chosen_class_is_the_one_evaluation_chooses_and_gamma_is_told() -> None:
    said, asked = outputs(1, False), classifier("proto", ScoresConfig(), gamma=3.0)
    wanted = (asked.rows.scores(said.proto) - asked.handicap).argmax(1)
    told = list(explain(asked, said, NAMES[:B], [""] * B, NAMES))
    assert [explanation.predicted for explanation in told] == [CLASSES[place] for place in wanted]
    for explanation in told:
        assert explanation.handicap[0] == (3.0 if explanation.predicted in CLASSES[:N_SEEN] else 0.0)
        left = np.subtract((explanation.score, explanation.rival_score), explanation.handicap)
        assert left[0] >= left[1]


def test_scores_that_are_not_finite_choose_no_class() -> None:
    said, asked = outputs(1, False), classifier("proto", ScoresConfig())
    said.proto[1, 2] = float("nan")
    with pytest.raises(UserError, match="scores by the proto head are not finite: train with a lower"):
        list(explain(asked, said, NAMES[:B], [""] * B, NAMES))


def test_published_scores_subtract_gamma_from_probabilities() -> None:
    said, asked = outputs(2, False), classifier("proto", ScoresConfig(kind="dot", double_softmax=True), gamma=0.2)
    torch.testing.assert_close(asked.chances(said), asked.rows.scores(said.proto).softmax(1) - asked.handicap)


def test_the_rival_is_the_true_class_of_a_wrong_answer_and_else_the_runner_up() -> None:
    said, asked = outputs(3, False), classifier("proto", ScoresConfig())
    ranked = [[CLASSES[place] for place in row] for row in asked.chances(said).argsort(dim=1, descending=True).tolist()]
    right = list(explain(asked, said, NAMES[:B], [row[0] for row in ranked], NAMES))
    wrong = list(explain(asked, said, NAMES[:B], [row[-1] for row in ranked], NAMES))
    elsewhere = list(explain(asked, said, NAMES[:B], ["no candidate"] * B, NAMES))
    assert [explanation.rival for explanation in right] == [row[1] for row in ranked]
    assert [explanation.rival for explanation in wrong] == [row[-1] for row in ranked]
    assert [explanation.rival for explanation in elsewhere] == [row[1] for row in ranked]


def explanation(predicted: str = "a", true: str = "a", box: tuple[int, int, int, int] | None = None) -> Explanation:
    values, row, rival = np.arange(12) / 10.0, np.ones(12), np.linspace(2, 0, 12)
    maps = np.random.default_rng(0).random((12, 4, 4)).astype(np.float32)
    scores = (float(values @ row), float(values @ rival))
    names = ["$x_$ & <b>", *(f"attribute {place}" for place in range(11))]
    return Explanation("i", true, predicted, "b", *scores, (0.0, 0.0), names, values, row, rival, 1.0, maps, box)


def test_deciding_attributes_speak_most_for_the_class_against_the_rival() -> None:
    told = explanation()
    assert told.deciding(3) == sorted(range(12), key=lambda place: -told.margins[place])[:3]
    assert [entry["name"] for entry in told.record()["attributes"]] == [told.names[place] for place in told.deciding(12)]


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_panel_marks_verdict_and_region_and_is_the_same_each_time() -> None:
    image = np.full((48, 48, 3), 128, np.uint8)
    right, wrong = panel(image, explanation()), panel(image, explanation(true="b"))
    assert panel(image, explanation()) == right
    # The frame's own colours move those of the palette a little everywhere.
    boxed = np.abs(decoded(panel(image, explanation(box=(5, 5, 40, 40)))) - decoded(right)).max(-1) > 64
    first_tile = boxed.shape[1] // 7
    assert boxed[:, :first_tile].any()
    assert not boxed[:, first_tile:].any()

    def ink(png: bytes, high: int, low: int) -> int:
        title = decoded(png)[:50, :first_tile]
        return int((title[..., high] - title[..., low] > 30).sum())

    assert ink(right, 1, 0) > 0 == ink(right, 0, 1)
    assert ink(wrong, 0, 1) > 0 == ink(wrong, 1, 0)


def test_images_of_a_run_are_explained_with_panels_and_figures(run_dir: Path, tmp_path: Path) -> None:
    scenes = run_dir.parent / "images"
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes((scenes / "Pond" / "pond_1.jpg").read_bytes()[:2000])
    viewer = Viewer.open(run_dir, "main", ["unseen"])
    told, unused = explain_images(viewer, [str(scenes / "Pond"), "Bridge/bridge_1", str(damaged)], tmp_path / "out")
    assert [image.name for image in unused.bad] == [str(damaged)]
    assert [explanation.true for explanation in told] == ["Pond"] * IMAGES + ["Bridge"]
    written = json.loads((tmp_path / "out" / EXPLANATIONS).read_text())
    assert written["candidates"] == list(UNSEEN)
    assert len(written["explanations"]) == IMAGES + 1
    for entry in written["explanations"]:
        assert (tmp_path / "out" / entry["panel"]).read_bytes().startswith(b"\x89PNG")
        attributes = entry["attributes"]
        assert sum(attribute["contribution"] for attribute in attributes) == pytest.approx(entry["score"], abs=1e-9)
        assert attributes[0]["margin"] == max(attribute["margin"] for attribute in attributes)
        left, top, right, bottom = entry["region"]
        assert 0 <= left < right <= 48
        assert 0 <= top < bottom <= 48


def test_candidates_are_all_classes_of_the_run_unless_told(run_dir: Path) -> None:
    assert Viewer.open(run_dir, "proto").classifier.names == (*SEEN, *UNSEEN)
    assert Viewer.open(run_dir, "proto", ["Pond", "Farmland"]).classifier.names == ("Pond", "Farmland")
    with pytest.raises(UserError, match=r"describes no class 'Ponds'.*did you mean 'Pond'"):
        Viewer.open(run_dir, "proto", ["Ponds"])
    with pytest.raises(UserError, match="'Pond' and 'Pond' are one class"):
        Viewer.open(run_dir, "proto", ["Pond", "unseen"])
    with pytest.raises(UserError, match=r"nothing/here\.jpg is no image file, no folder and no key of"):
        next(Viewer.open(run_dir, "proto").look(["nothing/here.jpg"], Unused()))
