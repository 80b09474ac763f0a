"""Jobs over several arrays."""

import pytest

from launch.slurm.arrays import Share, spread


@pytest.mark.parametrize("limit", [1, 2, 7, 1001])
@pytest.mark.parametrize("at_once", [1, 2, 5, 16])
@pytest.mark.parametrize("jobs", [1, 7, 1002, 2500])
def test_every_job_is_in_one_array_and_no_more_run_at_once_than_are_to(jobs: int, at_once: int, limit: int) -> None:
    shares = spread(jobs, at_once, limit)
    assert [number for share in shares for number in range(jobs)[share.jobs]] == list(range(jobs))
    assert max(share.jobs.stop - share.jobs.start for share in shares) <= limit
    assert len(shares) == -(-jobs // limit), "as few as possible"
    running = [share.at_once for share in shares if share.after is None]
    assert sum(running) == at_once or len(shares) < at_once
    assert sum(running) <= at_once
    assert min(share.at_once for share in shares) >= 1
    for share in shares:
        if share.after is not None:
            assert share.at_once == shares[share.after].at_once, "it takes the place of the one that it waits for"


def test_a_few_jobs_are_one_array() -> None:
    assert spread(3, 2, 3) == [Share(slice(0, 3), 2, None)]
