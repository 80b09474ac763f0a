"""The `paper` protocol's choice on the test classes, and how many points that choice alone gains."""

from pathlib import Path

from dsva.evaluation.results import Head, Optimism
from dsva.files import read_lines
from shards.errors import UserError


def optimism(metrics: Path, heads: dict[str, Head]) -> dict[str, Optimism]:
    """Find each head's best steps among those at which the test classes were scored.

    Args:
        metrics: the run's metrics.jsonl.
        heads: figures at the last step.

    Returns:
        By head, for those that were scored while training.

    Raises:
        UserError: the run has not scored its test classes yet.
    """
    found = {}
    lines = read_lines(metrics)
    for name, head in heads.items():
        zsl = {line["step"]: line[f"validation/{name}/zsl"] for line in lines if f"validation/{name}/zsl" in line}
        harmonic = {line["step"]: line[f"validation/{name}/harmonic"] for line in lines if f"validation/{name}/harmonic" in line}
        if not zsl:
            continue
        best = max(zsl, key=lambda step: (zsl[step], -step))
        gain = zsl[best] - head.zsl
        if head.gzsl and harmonic:
            high = max(harmonic, key=lambda step: (harmonic[step], -step))
            pair = {"harmonic_step": high, "harmonic": harmonic[high], "harmonic_gain": harmonic[high] - head.gzsl.harmonic}
        else:
            pair = {}
        found[name] = Optimism.model_validate({"zsl_step": best, "zsl": zsl[best], "zsl_gain": gain, **pair})
    if not found:
        raise UserError(f"{metrics} holds no scores of the test classes, which eval.protocol=paper chooses among: train with it")
    return found
