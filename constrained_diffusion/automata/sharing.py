"""Sums over sets that overlap: what several sets have in common is summed once.

The states of a grammar share most of their edges, and its labels most of their token classes: that of SQL has 74,000
edges and 135,000 classes in labels, but 7,000 and 10,000 numbers to add when nothing is added twice. Nothing is ever
subtracted, so this serves sums as well as maxima, and sums lose nothing to rounding.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from constrained_diffusion.automata import sharing_kernels as kernels
from constrained_diffusion.automata.lifting import GroupedEdges, Lifted

_LEAST_COMMON: Final = 6
"""What sets have in common is summed on its own if it has so many members."""
_MOST_WORK: Final = 100_000_000
"""Words of bits that may be compared at first; where it takes more, only bundles are shared."""


class SharedSums(NamedTuple):
    """How to sum items over each of R sets.

    Values are numbered: those of B bundles, then K sums, each of lower numbers than its own; the last R of them are
    those of the sets. A bundle holds the items that are in the same sets.

    Attributes:
        item_begin: int64 [B + 1]; item: int32 [items], the items of each bundle.
        part_begin: int64 [K + 1]; part: int32, the values that each sum adds.
        user_begin: int64 [B + K + 1]; user: int32, the values to which each value is added.
    """

    item_begin: NDArray[np.int64]
    item: NDArray[np.int32]
    part_begin: NDArray[np.int64]
    part: NDArray[np.int32]
    user_begin: NDArray[np.int64]
    user: NDArray[np.int32]


@final
@dataclass(frozen=True, eq=False)
class SharedEdges:
    """The edges of an automaton, those that several states share but once.

    Attributes:
        sums: the sums over what leads on from each state.
        out, into, labelled: label and target of what leads on, grouped by bundle, by target and by label. In place of
            a source stands the bundle.
    """

    sums: SharedSums
    out: GroupedEdges
    into: GroupedEdges
    labelled: GroupedEdges


def shared_edges(lifted: Lifted) -> SharedEdges:
    """The edges of an automaton on tokens."""
    edges = lifted.edges()
    states, labels = len(lifted.distance), len(lifted.label_begin) - 1
    _, first, arc = np.unique(
        edges.label.astype(np.int64) * states + edges.target, return_index=True, return_inverse=True
    )
    sums = shared_sums(edges.begin, arc, len(first))
    bundle = np.repeat(np.arange(len(sums.item_begin) - 1, dtype=np.int32), np.diff(sums.item_begin))
    arcs = first[sums.item]
    out = GroupedEdges(sums.item_begin, bundle, edges.target[arcs], edges.label[arcs])
    return SharedEdges(sums, out, out.by(out.target, states), out.by(out.label, labels))


def shared_sums(begin: NDArray[np.int64], items: NDArray[Any], num_items: int) -> SharedSums:
    """The sums over sets: set s holds the ``items`` from ``begin[s]`` to ``begin[s + 1]``, each of them once."""
    sets = len(begin) - 1
    set_of = np.repeat(np.arange(sets), np.diff(begin))
    first, bundle_of = _bundles(set_of, items, sets, num_items)
    is_first = np.zeros(num_items, bool)
    is_first[first] = True
    kept = is_first[items]
    num_bundles = len(first)
    num_sums, sum_of, part = _parts(set_of[kept], bundle_of[items[kept]], sets, num_bundles)
    item_begin, item = _grouped(bundle_of, np.arange(num_items), num_bundles)
    part_begin, parts = _grouped(sum_of, part, num_sums)
    user_begin, users = _grouped(part, sum_of + num_bundles, num_bundles + num_sums)
    return SharedSums(item_begin, item, part_begin, parts, user_begin, users)


def _grouped(keys: NDArray[Any], values: NDArray[Any], groups: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The values by key: where each group begins, int64 [groups + 1], and all of them."""
    begin = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=groups))])
    return begin, values[np.argsort(keys, kind="stable")].astype(np.int32)


def _bundles(
    set_of: NDArray[np.int64], items: NDArray[Any], sets: int, num_items: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first item of each bundle, in ascending order, and the bundle of each item.

    Items are compared by two 64-bit sums of random numbers, one per set.
    """
    numbers = np.random.default_rng(0).integers(0, 2**64, (2, sets), np.uint64)
    sums = np.zeros((2, num_items), np.uint64)
    for row, of_set in zip(sums, numbers, strict=True):
        np.add.at(row, items, of_set[set_of])
    order = np.lexsort(sums)
    is_new = np.append(True, np.any(sums[:, order[1:]] != sums[:, order[:-1]], axis=0))[:num_items]
    first = order[is_new]
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    bundle_of = np.empty(num_items, np.int64)
    bundle_of[order] = rank[np.cumsum(is_new) - 1]
    return np.sort(first), bundle_of


def _parts(
    set_of: NDArray[np.int64], bundles: NDArray[np.int64], sets: int, num_bundles: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """How many sums there are, and each sum with a value that it adds, [n] and [n]; the last sums are the sets."""
    is_large = np.bincount(set_of, minlength=sets) >= _LEAST_COMMON
    chosen = is_large[set_of]
    rows, row = np.unique(set_of[chosen], return_inverse=True)
    columns, column = np.unique(bundles[chosen], return_inverse=True)
    if len(rows) ** 2 * (len(rows) + len(columns)) // 64 > _MOST_WORK:
        return sets, set_of, bundles
    bits, size = kernels.common_parts(row, column, len(rows), len(columns), _LEAST_COMMON)
    # What a sum consists of is smaller than itself; of two of a size the later may be part of the earlier.
    rank = np.empty(len(size), np.int64)
    rank[np.lexsort((-np.arange(len(size)), size))] = np.arange(len(size))
    found, member = np.nonzero(np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little"))
    sum_of = np.concatenate([rows + len(size), rank])[found]
    part = np.concatenate([columns, rank + num_bundles])[member]
    rest = ~chosen
    return (
        sets + len(size),
        np.concatenate([sum_of, set_of[rest] + len(size)]),
        np.concatenate([part, bundles[rest]]),
    )
