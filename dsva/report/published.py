"""Figures that were published for DSVA, to stand beside a run's own."""

from dsva.evaluation.results import Results
from dsva.tables import Table

# Xu et al. 2023 on RSSDIVCS, and the authors' own rerun in the training logs that they publish: ZSL, U, S, H in percent,
# by numbers of seen and unseen classes. The rerun's epoch was chosen on the test classes, and gamma was set by hand.
FIGURES = {
    (60, 10): {"paper": (84.0, 68.4, 67.1, 67.7), "rerun": (86.6, 63.1, 69.2, 66.0)},
    (50, 20): {"paper": (64.2, 53.5, 59.8, 56.5), "rerun": (63.8, 52.8, 60.0, 56.2)},
    (40, 30): {"paper": (60.2, 43.7, 58.1, 49.9), "rerun": (60.4, 43.8, 57.8, 49.8)},
}


def published(results: Results) -> Table:
    """Return the published figures; the note says how far they can be compared with these results."""
    sizes = (len(results.seen), len(results.unseen))
    rows = [
        [f"{seen}/{unseen} {source}", *(f"{figure:.1f}" for figure in (zsl, s, u, h))]
        for (seen, unseen), sources in FIGURES.items()
        for source, (zsl, u, s, h) in sources.items()
    ]
    compared = (
        f"This run's split has the sizes of {sizes[0]}/{sizes[1]}: compare only if its images and classes are RSSDIVCS's too."
        if sizes in FIGURES
        else f"This run has {sizes[0]}/{sizes[1]} classes: its figures cannot be compared with these."
    )
    chosen = "The published epochs were chosen on the test classes, and gamma was set by hand."
    return Table(
        "Published figures of DSVA on RSSDIVCS", ("seen/unseen", "ZSL", "S", "U", "H"), rows, f"Percent. {compared} {chosen}"
    )
