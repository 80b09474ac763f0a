"""The scaling model's arithmetic at its limits, and the page that is made of it."""

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest

from benchmarks.scaling.model import Cluster, Work, all_reduce_seconds, efficiency, predict, same_batch
from benchmarks.scaling.page import NODES, PAGE, PRESETS, checks, cluster, load_measured, page, preset_work

WORK = Work(
    images=12,
    parts=2,
    image_seconds=0.004,
    fixed_seconds=0.002,
    reduced_bytes=350e6,
    overlap=1.0,
    read_bytes=15e3,
    checkpoint_bytes=1.4e9,
    checkpoint_every=500,
    background=False,
)
LINKS = Cluster(local=10e9, network=1.25e9, local_hop=6e-6, network_hop=14e-6, read=1e9, write=1e9)
IDEAL = Cluster(local=inf, network=inf, local_hop=0, network_hop=0, read=inf, write=inf)


def test_one_process_alone_takes_what_was_measured() -> None:
    step = predict(WORK, LINKS, 1, 1)
    assert (step.compute, step.exchange, step.reading) == (12 * 0.004 + 0.002, 0, 0)
    assert step.saving == 1.4 / 500
    assert efficiency(WORK, LINKS, 1, 1) == 1


def test_without_limits_speed_is_linear() -> None:
    for nodes in NODES:
        assert efficiency(WORK, IDEAL, nodes, 8) == 1


def test_all_reduce_of_two_sends_the_bytes_once_and_of_many_twice() -> None:
    still = replace(LINKS, local_hop=0, network_hop=0)
    assert all_reduce_seconds(1e9, still, 1, 2) == pytest.approx(0.1)
    assert all_reduce_seconds(1e9, still, 1, 1000) == pytest.approx(0.2, rel=2e-3)
    assert all_reduce_seconds(1e9, still, 1000, 1) == pytest.approx(1.6, rel=2e-3)
    assert all_reduce_seconds(1e9, replace(still, network=inf), 2, 8) == pytest.approx(0.1 * 30 / 16)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
def test_more_nodes_and_slower_links_never_help(overlap: float) -> None:
    work = replace(WORK, overlap=overlap)
    steps = [predict(work, LINKS, nodes, 8).seconds for nodes in NODES]
    assert all(earlier <= later for earlier, later in pairwise(steps))
    for name in ("local", "network", "read", "write"):
        slower = replace(LINKS, **{name: getattr(LINKS, name) / 2})
        assert predict(work, slower, 8, 8).seconds >= predict(work, LINKS, 8, 8).seconds
    assert predict(replace(work, overlap=0), LINKS, 8, 8).seconds >= steps[3]


def test_a_slow_file_system_sets_the_pace() -> None:
    slow = replace(LINKS, read=1e6)
    step = predict(WORK, slow, 64, 8)
    assert step.seconds - step.saving == pytest.approx(64 * 8 * 12 * 15e3 / 1e6)


def test_a_fixed_batch_is_divided_and_parts_vanish() -> None:
    assert same_batch(WORK, 96, 64) == replace(WORK, images=2)
    assert same_batch(WORK, 96, 96) == replace(WORK, images=1, parts=1)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_lose_by_slow_networks(preset: str) -> None:
    for fast in (False, True):
        work = preset_work(preset, 15e3, fast)
        found = [efficiency(work, cluster(network), 64, 8) for network in ("10 Gb", "25 Gb", "100 Gb")]
        assert 0 < found[0] < found[1] < found[2] < 1


def test_what_was_measured_bears_the_model_out() -> None:
    """Of a machine of two cores: the model that is told how two processes compute beside each other is right within a fifth."""
    for row in checks(load_measured()):
        assert row["beside"] == pytest.approx(row["measured"], rel=0.2)


def test_the_page_is_what_the_command_writes() -> None:
    assert PAGE.read_text() == page(load_measured())
