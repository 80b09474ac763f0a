"""docs/scaling.md and its picture: what was measured, what is assumed, and what follows for 1 to 64 nodes of 8 RTX 4090."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.scaling.model import BUCKET, Cluster, Work, efficiency, predict, same_batch
from dsva.config import Config, load
from dsva.cost import PEAKS, STAGES, Shape

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MEASURED, TEXT, PAGE = HERE / "measured.json", HERE / "page.md", ROOT / "docs" / "scaling.md"
PRESETS = {"ViT-B/32": "rtx4090_vit_b32", "ViT-B/16": "rtx4090_vit_b16", "ViT-L/14": "rtx4090_vit_l14"}
NODES, GPUS = (1, 2, 4, 8, 16, 32, 64), 8
NETWORKS = {"10 Gb": 10e9 / 8, "25 Gb": 25e9 / 8, "100 Gb": 100e9 / 8}
LINE_RATE = 0.9
ENOUGH = 0.8  # efficiency
ATTRIBUTES = 98
CARD = r"RTX 4090$"
PUBLISHED = (490, 590)  # images/s with regions, on one idle card
EPOCH = {"training": 7200, "test": 8000}  # images of a published epoch
MFU = 0.4
CARD_MEMORY = 1.008e12  # bytes/s
UPDATE = 40  # bytes a weight
OVERLAP_ZERO = 0.5
CLUSTER = Cluster(local=10e9, network=0.0, local_hop=5.7e-6, network_hop=14e-6, read=1e9, write=1e9)


def achieved() -> float:
    """Return the FLOP/s of the published program on an RTX 4090: the operations of its epoch over the time its speed gives."""
    shape = Shape.of(_preset("ViT-B/32"), ATTRIBUTES)
    operations = EPOCH["training"] * shape.step_flops(True, heads_only=False) + EPOCH["test"] * shape.forward_flops(True)
    return operations / (sum(EPOCH.values()) / (sum(PUBLISHED) / 2))


def preset_work(name: str, read_bytes: float, fast: bool) -> Work:
    """Return what one of 8 GPUs does in a fine-tuning step of a preset; `fast` at the assumed MFU, else as fast as published."""
    config = _preset(name)
    shape = Shape.of(config, ATTRIBUTES)
    speed = MFU * PEAKS[CARD] if fast else achieved()
    state = 4 * (3 + bool(config.train.ema)) * shape.parameters
    return Work(
        images=config.data.batch_size // GPUS,
        parts=config.train.accumulation,
        image_seconds=shape.step_flops(config.model.regions, heads_only=False) / speed,
        fixed_seconds=UPDATE * shape.parameters / CARD_MEMORY if fast else 0.0,
        reduced_bytes=4.0 * shape.parameters,
        # ZeRO-1 hides the way in of the gradients; the way out of the updated weights follows the update.
        overlap=OVERLAP_ZERO if STAGES[config.train.engine] else 1.0,
        read_bytes=read_bytes,
        checkpoint_bytes=state,
        checkpoint_every=config.run.checkpoint_every,
        background=config.run.async_save,
    )


def cluster(network: str) -> Cluster:
    """Return the assumed nodes, joined by one of the networks."""
    return replace(CLUSTER, network=LINE_RATE * NETWORKS[network])


def checks(measured: dict[str, Any]) -> Iterator[dict[str, float]]:
    """Yield, for each number of images, the measured step of two processes here and the model's two predictions of it."""
    rows = measured["rows"]
    for row in rows:
        two = row["two"]
        links = replace(CLUSTER, local=two["reduced_bytes"] / two["all_reduce"], local_hop=0.0)
        predicted = {kind: predict(_measured_work(rows, kind, row["images"]), links, 1, 2) for kind in ("beside", "alone")}
        steps = {kind: step.seconds - step.saving for kind, step in predicted.items()}
        yield {"images": row["images"], "measured": two["step"], "exchange": two["all_reduce"], **steps}


def _measured_work(rows: list[dict[str, Any]], kind: str, images: int) -> Work:
    """Fit seconds a step and seconds an image to what one process took here, alone or beside another."""
    (few, fast), (many, slow) = ((row["images"], row[kind]["step"]) for row in rows)
    each = (slow - fast) / (many - few)
    two = rows[0]["two"]
    # The cores that would exchange behind the backward pass are busy with it.
    return Work(images, 1, each, fast - few * each, two["reduced_bytes"], 0.0, 0.0, two["checkpoint_bytes"], 1, False)


def page(measured: dict[str, Any]) -> str:
    """Return docs/scaling.md."""
    read_bytes = measured["rows"][0]["two"]["read_bytes"]
    tables = "\n\n".join(_tables(name, read_bytes) for name in PRESETS)
    values = {
        "achieved": f"{achieved() / 1e12:.1f}",
        "slow": PUBLISHED[0],
        "quick": PUBLISHED[1],
        "training": f"{EPOCH['training']:,}",
        "test": f"{EPOCH['test']:,}",
        "mfu": f"{MFU:.0%}",
        "fast": f"{MFU * PEAKS[CARD] / 1e12:.0f}",
        "peak": f"{PEAKS[CARD] / 1e12:.0f}",
        "update": UPDATE,
        "memory": f"{CARD_MEMORY / 1e9:,.0f}",
        "local": f"{CLUSTER.local / 1e9:.0f}",
        "line_rate": f"{LINE_RATE:.0%}",
        "local_hop": f"{CLUSTER.local_hop * 1e6:.1f}",
        "network_hop": f"{CLUSTER.network_hop * 1e6:.0f}",
        "bucket": BUCKET >> 20,
        "half": f"{OVERLAP_ZERO:.0%}",
        "image": f"{read_bytes / 1000:.1f}",
        "read": f"{CLUSTER.read / 1e9:.0f}",
    }
    return TEXT.read_text().format(tables=tables, check=_check(measured), counted=_counted(measured), **values)


def _tables(name: str, read_bytes: float) -> str:
    published, fast = (preset_work(name, read_bytes, fast) for fast in (False, True))
    batch = _preset(name).data.batch_size
    heads = [f"{speed}, {network}" for speed in ("published speed", f"{MFU:.0%} MFU") for network in NETWORKS]
    lines = [f"| nodes | batch | {' | '.join(heads)} |", "|--:|--:|" + "--:|" * len(heads)]
    for nodes in NODES:
        cells = [_cell(work, network, nodes) for work in (published, fast) for network in NETWORKS]
        lines.append(f"| {nodes} | {nodes * batch:,} | {' | '.join(cells)} |")
    share = _preset(name).data.batch_size // GPUS // published.parts
    fixed = ["| nodes | images a GPU | " + " | ".join(NETWORKS) + " |", "|--:|--:|" + "--:|" * len(NETWORKS)]
    for nodes in (n for n in NODES if n * GPUS <= batch):
        work = same_batch(published, batch, nodes * GPUS)
        rates = [f"{batch / predict(work, cluster(network), nodes, GPUS).seconds:,.0f}" for network in NETWORKS]
        fixed.append(f"| {nodes} | {work.images} | {' | '.join(rates)} |")
    works = (published, fast)
    enough = "; ".join(f"{net}: {' and '.join(f'{_enough(work, net, share):,}' for work in works)}" for net in NETWORKS)
    sizes = f"Gradients {published.reduced_bytes / 1e6:,.0f} MB, a checkpoint {published.checkpoint_bytes / 1e9:.1f} GB"
    needed = f"{sizes}. Images a GPU between exchanges for {ENOUGH:.0%} on 8 nodes, published speed and {MFU:.0%} MFU: {enough}."
    kept = f"The batch left at {batch}, published speed, images/s:"
    return "\n".join([f"### {name}\n", *lines, f"\n{needed}\n\n{kept}\n", *fixed])


def _enough(work: Work, network: str, share: int) -> int:
    """Return how many images a GPU, `share` at once, make 8 nodes efficient enough."""
    parts = 1
    while efficiency(replace(work, images=parts * share, parts=parts), cluster(network), 8, GPUS) < ENOUGH:
        parts += 1
    return parts * share


def _cell(work: Work, network: str, nodes: int) -> str:
    links = cluster(network)
    rate = nodes * GPUS * work.images / predict(work, links, nodes, GPUS).seconds
    return f"{rate:,.0f} ({efficiency(work, links, nodes, GPUS):.0%})"


def _check(measured: dict[str, Any]) -> str:
    lines = ["| images a process | measured | predicted | ratio | from one process alone | ratio |", "|--:|--:|--:|--:|--:|--:|"]
    for row in checks(measured):
        ratios = [f"{row[kind]:.2f} s | {row[kind] / row['measured']:.2f}" for kind in ("beside", "alone")]
        lines.append(f"| {row['images']} | {row['measured']:.2f} s | {' | '.join(ratios)} |")
    return "\n".join(lines)


def _counted(measured: dict[str, Any]) -> str:
    two = measured["rows"][0]["two"]
    lines = [
        ("gradients, bytes a step", two["reduced_bytes"], 4 * two["parameters"]),
        ("checkpoint, bytes", two["checkpoint_bytes"], 12 * two["parameters"]),
    ]
    table = [f"| {what} | {found:,} | {formula:,} | {formula / found:.3f} |" for what, found, formula in lines]
    return "\n".join(["| | counted | formula | ratio |", "|:--|--:|--:|--:|", *table])


def picture(read_bytes: float, path: Path) -> None:
    """Draw efficiency over nodes: a panel for each preset, a colour for each network, dashed at the assumed MFU."""
    import matplotlib as mpl  # noqa: PLC0415 (the page needs none of it)

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams.update({"svg.hashsalt": "scaling", "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, len(PRESETS), figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, name in zip(axes, PRESETS, strict=True):
        for colour, network in zip(("#c0392b", "#d68910", "#1f618d"), NETWORKS, strict=True):
            for fast, style in ((False, "-"), (True, "--")):
                work = preset_work(name, read_bytes, fast)
                values = [100 * efficiency(work, cluster(network), nodes, GPUS) for nodes in NODES]
                label = f"{network}, {f'{MFU:.0%} MFU' if fast else 'published speed'}"
                axis.plot(NODES, values, style, color=colour, label=label)
        axis.set(title=name, xlabel="nodes of 8 RTX 4090", xscale="log", ylim=(0, 103))
        axis.set_xticks(NODES, map(str, NODES))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("efficiency, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize="small")
    figure.savefig(path, metadata={"Date": None})


def load_measured() -> dict[str, Any]:
    """Return what `--measure` wrote."""
    found: dict[str, Any] = json.loads(MEASURED.read_text())
    return found


def _preset(name: str) -> Config:
    return load(ROOT / "configs" / "presets" / f"{PRESETS[name]}.yaml")
