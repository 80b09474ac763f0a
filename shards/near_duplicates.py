"""Near duplicates: pairs of images that show the same scene, found by their hashes and confirmed by their pixels."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from shards.difference_hashes import Hashes, Places, alike_pairs, bounded
from shards.duplicates import exact_copies
from shards.errors import UserError
from shards.index import ShardSet
from shards.loader import Reader
from shards.progress import progress_bar

MOST = 200_000  # pairs whose pixels are compared, at most
MOST_BY_CHANCE = 20_000  # of them between hashes that have nothing to do with each other
SAME_SCENE = 0.7  # correlation; benchmarks/near_copies.py measures what it parts
SIDE, MARGIN = 32, 4  # of a picture that is compared, and the frame of it that the other may lack, pixels
_SIDES = range(SIDE - MARGIN, SIDE + MARGIN + 1)  # that the other is scaled to
_KEPT_SIDE = 48
_NOISE = 0.1  # grey levels: what varies less is not seen

Grey = NDArray[np.uint8]


class Sample(NamedTuple):
    """A sample of one of several sets: the place of the set, and its id there."""

    place: int
    id: int


class Alike(NamedTuple):
    """Two samples with alike hashes, and the bits in which these differ."""

    first: Sample
    second: Sample
    bits: int


class NearDuplicate(NamedTuple):
    """Two images with hashes that are alike.

    Attributes:
        first: one of them.
        second: the other.
        bits: in which the hashes differ, of 64.
        correlation: of the two at their best alignment, at most 1.
        exact: whether they have the same bytes.
    """

    first: Sample
    second: Sample
    bits: int
    correlation: float
    exact: bool

    @property
    def same_scene(self) -> bool:
        """Whether the pixels confirm what the hashes say."""
        return self.exact or self.correlation >= SAME_SCENE


def near_duplicates(sets: Sequence[ShardSet], distance: int, workers: int = 1) -> tuple[list[NearDuplicate], int]:
    """Find the pairs within one set, or, of several, those between different ones.

    Args:
        sets: opened.
        distance: bits in which hashes may differ.
        workers: threads.

    Returns:
        All pairs that the hashes find, by bits and then from the highest correlation, of which `NearDuplicate.same_scene` tells
        those that show the same scene; and the bits within which that is all: fewer than `distance` where it would be too many.
        Of exact copies each is paired with the next only.

    Raises:
        UserError: too many pairs have equal hashes, or an image is damaged.
    """
    alike, distance = _alike(sets, distance)
    greys = _greys(sets, sorted({sample for pair in alike for sample in (pair.first, pair.second)}), workers)
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda pair: correlation(greys[pair.first], greys[pair.second]), alike)
        pairs = [NearDuplicate(*pair, value, exact=False) for pair, value in zip(alike, found, strict=True)]
    pairs += [NearDuplicate(one, other, 0, 1.0, exact=True) for one, other in _exact(sets)]
    pairs.sort(key=lambda pair: (pair.bits, not pair.exact, -pair.correlation, pair.first, pair.second))
    return pairs, distance


def correlation(first: Grey, second: Grey) -> float:
    """Return how alike two square grey pictures are where they fit best, at most 1: 1 are equal scenes, 0 unrelated ones.

    The middle of the first is looked for in the second, moved and scaled by up to an eighth, by normalised cross-correlation of
    the pictures' finer structures (brightness and contrast do not matter).
    """
    middle = _structure(first, SIDE)[MARGIN:-MARGIN, MARGIN:-MARGIN].ravel()
    middle -= middle.mean()
    floor = _NOISE * len(middle) ** 0.5
    middle /= np.linalg.norm(middle) + floor
    best = 0.0
    for side in _SIDES:
        windows = sliding_window_view(_structure(second, side), (SIDE - 2 * MARGIN,) * 2).reshape(-1, len(middle))
        norms = np.sqrt(np.maximum((windows**2).sum(1) - len(middle) * windows.mean(1) ** 2, 0))
        best = max(best, float((windows @ middle / (norms + floor)).max()))
    return best


def _structure(grey: Grey, side: int) -> NDArray[np.float32]:
    """Scale a picture and take the mean of each pixel's 7 x 7 neighbours away."""
    scaled = np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BILINEAR), np.float32)
    sums = np.pad(np.pad(scaled, 3, mode="reflect").cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    means = (sums[7:, 7:] - sums[:-7, 7:] - sums[7:, :-7] + sums[:-7, :-7]) / 49
    structure: NDArray[np.float32] = scaled - means.astype(np.float32)
    return structure


def _greys(sets: Sequence[ShardSet], samples: Sequence[Sample], workers: int) -> dict[Sample, Grey]:
    sizes = [int(sets[sample.place].records["length"][sample.id]) for sample in samples]
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(shards)) for shards in sets]
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        advance = stack.enter_context(progress_bar("comparing", sum(sizes)))
        greys = {}
        for sample, grey, size in zip(samples, pool.map(partial(_grey, readers), samples), sizes, strict=True):
            greys[sample] = grey
            advance(1, size)
    return greys


def _grey(readers: Sequence[Reader], sample: Sample) -> Grey:
    pixels = np.empty((_KEPT_SIDE, _KEPT_SIDE, 3), np.uint8)
    readers[sample.place].decode(sample.id, pixels)
    return np.asarray(Image.fromarray(pixels).convert("L"))


def _exact(sets: Sequence[ShardSet]) -> list[tuple[Sample, Sample]]:
    """Return each sample and the next with the same bytes; of several sets, where that is in another one."""
    of_set = np.repeat(np.arange(len(sets)), [len(shards) for shards in sets])
    ids = np.concatenate([np.arange(len(shards)) for shards in sets])
    one, other = exact_copies(np.concatenate([shards.records for shards in sets]))
    wanted = (of_set[one] != of_set[other]) | (len(sets) == 1)
    firsts, seconds = ([Sample(int(of_set[i]), int(ids[i])) for i in rows[wanted]] for rows in (one, other))
    return list(zip(firsts, seconds, strict=True))


def _alike(sets: Sequence[ShardSet], distance: int) -> tuple[list[Alike], int]:
    """Return pairs with alike hashes and different bytes, and the bits within which they are all: fewer if there are too many."""
    found: list[Alike] = []
    compared = list(combinations(range(len(sets)), 2)) or [(0, 0)]
    distance = bounded(distance, sum(len(sets[a]) * len(sets[b]) for a, b in compared), MOST_BY_CHANCE)
    for a, b in compared:
        for bits, members, others in _alike_groups(sets[a], sets[b], distance):
            for i, j in product(members.tolist(), others.tolist()):
                if bits > distance:
                    break
                if i < j if a == b else sets[a].records["checksum"][i] != sets[b].records["checksum"][j]:
                    found.append(Alike(Sample(a, i), Sample(b, j), bits))
                if len(found) > MOST:
                    distance = max(pair.bits for pair in found) - 1
                    found = [pair for pair in found if pair.bits <= distance]
    if distance < 0:
        roots = " and ".join(str(shards.root) for shards in sets)
        raise UserError(
            f"more than {MOST:,} pairs of different images in {roots} have equal hashes: compare fewer images at a time"
        )
    return found, distance


def _alike_groups(one: ShardSet, other: ShardSet, distance: int) -> Iterator[tuple[int, Places, Places]]:
    """Yield the bits in which two hashes differ, and the samples of each."""
    looks, groups = _by_look(one)
    other_looks, other_groups = _by_look(other)
    for pairs in alike_pairs(looks, other_looks, distance):
        for first, second, bits in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.bits.tolist(), strict=True):
            yield bits, groups[first], other_groups[second]


def _by_look(shards: ShardSet) -> tuple[Hashes, list[Places]]:
    """Return the different hashes of a set, and with each the first samples of the different contents that have it."""
    contents = np.unique(shards.records["checksum"], return_index=True)[1]
    hashes = shards.records["phash"][contents].astype(np.uint64)
    order = np.argsort(hashes, kind="stable")
    looks, starts = np.unique(hashes[order], return_index=True)
    return looks, np.split(contents[order], starts[1:])
