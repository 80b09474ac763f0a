"""Tables of results, for the terminal and as markdown."""

from collections.abc import Iterable, Sequence

from dsva.evaluation.results import LEVELS, ClassCount, Head, Interval, Optimism, Results
from dsva.tables import Table, percent
from dsva.usage import Cost

TITLES = {
    "honest": "Test",
    "validation": "Validation",
    "paper": "Paper protocol: test",
    "exemplars": "NOT ZERO-SHOT, exemplars of unseen classes: test",
}


NOT_ZERO_SHOT = "NOT ZERO-SHOT: rows of unseen classes were made from images of those classes"


def protocols(found: Iterable[Results]) -> str:
    """Return the end of a note that says by which protocol figures of several runs came about."""
    names = list(dict.fromkeys(results.protocol for results in found))
    told = f" Protocol: {', '.join(names)}." if names else ""
    return told + (f" {NOT_ZERO_SHOT}." if "exemplars" in names else "")


def summary(results: Results) -> Table:
    """Return one row a head, one a baseline and one of the chance levels: ZSL, S, U, H and AUSUC in percent, and gamma."""
    rows = [[name, *_figures(head)] for name, head in results.heads.items()]
    levels = [results.chance[name] for name in LEVELS]
    rows.append(["chance", *map(percent, levels), ""])
    made = results.provenance
    rows += [_chosen_on_test(name, found) for name, found in (results.optimism or {}).items()]
    return Table(
        f"{TITLES[results.protocol]} on {made.split}: {len(results.seen)} seen, "
        f"{len(results.unseen)} unseen classes, step {made.checkpoint_step}",
        ("scores by", "ZSL", "S", "U", "H", "AUSUC", "gamma"),
        rows,
        " ".join(
            [
                "Percent, per-class mean top-1.",
                _gamma_sources(results),
                *_baselines(results),
                *_gains(results),
                *(f"Note: {text}." for text in results.warnings),
            ]
        ),
    )


def confidence(results: Results) -> Table:
    """Return two rows a source of scores: how far other images, and other classes, would have moved its figures."""
    rows = [
        [f"{name}, {what}", *map(_ends, (found.zsl, found.seen, found.unseen, found.harmonic))]
        for name, head in results.heads.items()
        for what, found in (("images", head.over_images), ("classes", head.over_classes))
        if found
    ]
    return Table(
        "95 % confidence",
        ("scores by", "ZSL", "S", "U", "H"),
        rows,
        "Percent, by bootstrap. Images: each class's test images drawn again. Classes: the classes drawn, then their images.",
    )


def per_class(results: Results) -> Table:
    """Return one row a class, unseen classes first: test images, and for each head the percentage recognised."""
    counted = {
        name: (_by_name(head.zsl_classes), _by_name(head.gzsl.classes if head.gzsl else ())) for name, head in results.heads.items()
    }
    rows = []
    for kind, names in (("unseen", results.unseen), ("seen", results.seen)):
        for name in names:
            cells = [part.get(name) for parts in counted.values() for part in parts]
            images = max((cell.total for cell in cells if cell), default=0)
            rows.append([name, kind, str(images), *(percent(cell.correct / cell.total) if cell else "" for cell in cells)])
    columns = ["class", "kind", "images", *(f"{name} {what}" for name in counted for what in ("ZSL", "GZSL"))]
    return Table("Share of each class's test images that is recognised", columns, rows, "Percent.")


def spent(cost: Cost) -> str:
    """Say in a sentence what the training took."""
    share = "whose peak is unknown here" if cost.mfu is None else f"{100 * cost.mfu:.1f} % of the peak in bf16"
    energy = "" if cost.kwh is None else f", {cost.kwh:.2f} kWh"
    return (
        f"Training took {cost.hours:.2f} h on {cost.processes} x {cost.device}: {cost.images_per_second:.1f} images/s, "
        f"{cost.tflops:.2f} TFLOP/s a process ({share}), at most {cost.memory_mib / 1024:.2f} GiB a process{energy}."
    )


def _ends(interval: Interval | None) -> str:
    return "-" if interval is None else f"{percent(interval.low)}\N{EN DASH}{percent(interval.high)}"


def _figures(head: Head) -> list[str]:
    gzsl = head.gzsl
    if gzsl is None:
        return [percent(head.zsl), *["-"] * 5]
    shares = (head.zsl, gzsl.seen, gzsl.unseen, gzsl.harmonic, gzsl.ausuc)
    return [*map(percent, shares), f"{gzsl.gamma:.4g}"]


def _gamma_sources(results: Results) -> str:
    sources = {name: head.gzsl.gamma_source for name, head in results.heads.items() if head.gzsl}
    if not sources:
        return "No seen test images: no GZSL."
    if len(set(sources.values())) == 1:
        return f"Gamma: {next(iter(sources.values()))}."
    return "Gamma: " + "; ".join(f"{name}: {source}" for name, source in sources.items()) + "."


def _chosen_on_test(name: str, found: Optimism) -> list[str]:
    harmonic = "-" if found.harmonic is None else percent(found.harmonic)
    return [f"{name}, chosen on test", percent(found.zsl), "-", "-", harmonic, "-", "-"]


def _gains(results: Results) -> list[str]:
    told = []
    for name, found in (results.optimism or {}).items():
        text = f"choosing on test, as published, gains {name} {100 * found.zsl_gain:.1f} points of ZSL (step {found.zsl_step})"
        if found.harmonic_gain is not None:
            text += f" and {100 * found.harmonic_gain:.1f} of H (step {found.harmonic_step}, its best gamma)"
        told.append(f"{text[0].upper()}{text[1:]}.")
    return told


def _baselines(results: Results) -> list[str]:
    if "ridge" not in results.heads:
        return []
    backbone = results.provenance.config["model"]["backbone"]
    features = "the run's own trained backbone" if backbone == "random" else f"{backbone} before training"
    told = [f"Ridge and eszsl: linear maps on frozen features of {features}, their strengths chosen among seen classes."]
    return told + (["Text prompts: that model's own text tower on the class names."] if "text prompts" in results.heads else [])


def _by_name(counts: Sequence[ClassCount]) -> dict[str, ClassCount]:
    return {count.name: count for count in counts}
