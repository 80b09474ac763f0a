"""How jobs are spread over job arrays, where there are more of them than Slurm takes in one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """What one of the arrays holds.

    Attributes:
        jobs: of all, in order.
        at_once: of them run at the same time.
        after: number of the array that it waits for; None if it waits for none.
    """

    jobs: slice
    at_once: int
    after: int | None


def spread(jobs: int, at_once: int, limit: int) -> list[Share]:
    """Return arrays of at most `limit` jobs, about the same number in each, of which `at_once` run at the same time in all.

    They share `at_once`, and where there are more arrays than that, one waits until another has ended.
    """
    arrays = -(-jobs // limit)
    side_by_side = min(arrays, at_once)
    bounds = [jobs * number // arrays for number in range(arrays + 1)]
    return [
        Share(
            slice(bounds[number], bounds[number + 1]),
            at_once // side_by_side + (number % side_by_side < at_once % side_by_side),
            number - side_by_side if number >= side_by_side else None,
        )
        for number in range(arrays)
    ]
