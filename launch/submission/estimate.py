"""What a run will take, before it is queued: memory and hours, by arithmetic or as others of its kind were measured."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from dsva.config import Config
from launch.slurm.batch import ClusterConfig
from shards.errors import UserError

MFU = 0.3  # share of a GPU's peak that is assumed as long as nothing was measured
GB = 1e9
# The arithmetic is right within a tenth and leaves the libraries' own memory out, about a gigabyte.
SURELY, LIBRARIES = 1.1, 1.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Estimate:
    """What one run takes.

    Attributes:
        images: of the whole run.
        flops: floating-point operations of training on one image.
        memory_gb: of one process.
        seconds: of the whole job by arithmetic; None where the peak of its devices is not known.
        warning: that the memory may not be enough, or empty.
    """

    images: int
    flops: float
    memory_gb: float
    seconds: float | None
    warning: str

    @classmethod
    def of(cls, config: Config, attributes: int, cluster: ClusterConfig) -> Self:
        """Estimate a run with this number of attributes.

        Raises:
            UserError: it surely needs more memory than there is, or the sizes of its backbone cannot be had.
        """
        from dsva.cost import Shape, flops_per_image, memory_bytes, peak_flops  # noqa: PLC0415 (transformers: slow)

        shape = Shape.of(config, attributes)
        flops, images = flops_per_image(config, shape), config.train.steps * config.data.batch_size
        memory_gb = memory_bytes(config, shape, cluster.processes).total / GB
        peak = peak_flops(cluster.gpu, config.train.precision) if cluster.gpus_per_node else None
        seconds = images * flops / (peak * MFU * cluster.processes) if peak else None
        return cls(images, flops, memory_gb, seconds, _memory_warning(memory_gb, config, cluster))


def _memory_warning(need: float, config: Config, cluster: ClusterConfig) -> str:
    have = cluster.gpu_memory_gb if cluster.gpus_per_node else cluster.memory_gb / cluster.processes_per_node
    if not have or need + LIBRARIES <= have:
        return ""
    where = f"a GPU has (gpu_memory_gb={have:g})" if cluster.gpus_per_node else f"of memory_gb={cluster.memory_gb} it has"
    sentence = (
        f"a process needs about {need:.1f} GB and the libraries another, more than {where}: raise train.accumulation, set "
        "model.gradient_checkpointing=true or train.engine=zero2, lower data.batch_size, or take more processes"
    )
    # DeepSpeed's own settings may move a part of it to main memory.
    if need > SURELY * have and config.train.deepspeed is None:
        raise UserError(sentence)
    return sentence


def tell(estimates: Sequence[Estimate], cluster: ClusterConfig, images_per_second: float | None = None) -> None:
    """Say what runs take together, and each warning once.

    Args:
        estimates: one for each run.
        cluster: where they shall run.
        images_per_second: of a run of their kind, where one was measured; it says more than the arithmetic.
    """
    if not estimates:
        return
    images, operations = sum(one.images for one in estimates), sum(one.images * one.flops for one in estimates)
    size = (
        f"{images:,} training images, {operations:.2g} operations, up to {max(one.memory_gb for one in estimates):.2g} GB a process"
    )
    log.info(f"{size}{_time(estimates, images, cluster, images_per_second)}")
    for warning in dict.fromkeys(one.warning for one in estimates if one.warning):
        log.warning(warning)


def _time(estimates: Sequence[Estimate], images: int, cluster: ClusterConfig, images_per_second: float | None) -> str:
    device = "GPU" if cluster.gpus_per_node else "process"
    if images_per_second:
        return (
            f", about {_hours(images / images_per_second, cluster)} {device} hours at {images_per_second:.4g} images/s, as measured"
        )
    seconds = [one.seconds for one in estimates if one.seconds is not None]
    if len(seconds) == len(estimates):
        return f", about {_hours(sum(seconds), cluster)} GPU hours at {MFU:.0%} of the peak of {cluster.gpu}"
    return f"; no hours, since no peak is known of gpu={cluster.gpu!r}" if cluster.gpus_per_node else ""


def _hours(seconds: float, cluster: ClusterConfig) -> str:
    hours = seconds * cluster.processes / 3600
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"
