"""What runs will take, before they are queued."""

from pathlib import Path

import pytest

from dsva.config import Config, load
from launch.slurm.batch import ClusterConfig, cluster_config
from launch.submission.estimate import MFU, Estimate, tell
from shards.errors import UserError
from tests.helpers.heard import heard

ROOT = Path(__file__).resolve().parents[2]
L14 = ROOT / "configs" / "presets" / "rtx4090_vit_l14.yaml"


def cluster(**changes: object) -> ClusterConfig:
    return cluster_config(ROOT / "configs" / "cluster" / "rtx4090.yaml", changes)


def said(estimates: list[Estimate], on: ClusterConfig, images_per_second: float | None = None) -> str:
    with heard() as text:
        tell(estimates, on, images_per_second)
    return text.getvalue()


def test_hours_are_operations_over_an_assumed_share_of_the_peak() -> None:
    config, on = load(L14, ["train.steps=1000"]), cluster()
    one = Estimate.of(config, 98, on)
    assert one.images == 1000 * config.data.batch_size
    assert one.seconds == pytest.approx(one.images * one.flops / (8 * 165e12 * MFU))
    in_float = Estimate.of(load(L14, ["train.steps=1000", 'train.precision="no"']), 98, on)
    assert one.seconds
    assert in_float.seconds == pytest.approx(one.seconds * 165 / 82.6), "without bf16 another peak counts"
    words = said([one, one], on)
    assert f"{2 * one.images:,} training images" in words
    assert f"{2 * 8 * one.seconds / 3600:.2g} GPU hours at 30% of the peak of NVIDIA GeForce RTX 4090" in words


def test_what_was_measured_says_more_than_arithmetic() -> None:
    on = cluster(gpus_per_node=2)
    one = Estimate(images=7200, flops=1.0, memory_gb=1.0, seconds=1.0, warning="")
    assert "about 4 GPU hours at 1 images/s, as measured" in said([one], on, 1.0)


def test_an_unknown_gpu_and_a_processor_have_no_hours() -> None:
    config = Config()
    on = cluster(gpu="NVIDIA GeForce RTX 3090")
    assert "no hours, since no peak is known of gpu='NVIDIA GeForce RTX 3090'" in said([Estimate.of(config, 59, on)], on)
    assert Estimate.of(config, 59, ClusterConfig()).seconds is None


def test_what_surely_does_not_fit_is_refused_and_what_hardly_fits_is_said() -> None:
    big = load(L14, ["data.batch_size=960", "train.accumulation=1", "model.gradient_checkpointing=false"])
    with pytest.raises(UserError, match=r"needs about \d+.\d GB .* a GPU has \(gpu_memory_gb=24\): raise train.accumulation"):
        Estimate.of(big, 98, cluster())
    fits = Estimate.of(load(L14), 98, cluster())
    assert not fits.warning
    tight = cluster(gpu_memory_gb=int(fits.memory_gb))
    assert "WARNING: a process needs about" in said([Estimate.of(load(L14), 98, tight)], tight)
    assert not Estimate.of(big, 98, cluster(gpu_memory_gb=0)).warning, "nobody said how much there is"
    with pytest.raises(UserError, match="of memory_gb=1 it has"):
        Estimate.of(big, 98, ClusterConfig(memory_gb=1))
