"""Counts of pairs of models by how prediction and target order them, for ``pgdl`` and ``conditional_mi``.

A set of hyperparameters puts the models into G groups; a cell [a, b] of the set holds the ordered pairs (i, j), i in
group a and j in group b. Only cells with a <= b are counted: for different groups, [b, a] holds the reversed pairs,
with both signs negated. All nine orders of a pair follow from the pairs that are greater in both vectors and from the
models' order in each vector (``_table``).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from benchmark.scoring.bootstrap import CHUNK, discordant_partners, levels_of
from benchmark.scoring.grid import Set, labels
from benchmark.scoring.kendall import PairOrder

# Weights of models, and counts by cell, in a chunk of draws.
WEIGHT_CHUNK = 1 << 21
COUNT_CHUNK = 1 << 22
# Sets share their counts if all their columns together make at most this many groups.
_SHARED_GROUPS = 64


class Table(NamedTuple):
    """The pairs of one set.

    Attributes:
        counts: float64 [3, 3, ..., C, d], by 1 + sign(mu_i - mu_j), 1 + sign(g_i - g_j) and cell, for d draws.
        within: bool [C], cells of one group.
    """

    counts: np.ndarray
    within: np.ndarray

    @property
    def turned(self) -> np.ndarray:
        """The counts of the cells [b, a] with a < b."""
        return self.counts[::-1, ::-1][..., ~self.within, :]


class PairCounts:
    """Tables of the models without resampling, d = 1.

    Each model's partners are counted by group, for all groups of all sets at once, as ``bootstrap_tau`` counts them by
    draw: O(n log n sum G) operations and O(n sum G + sum G^2) memory.

    Args:
        target: [n].
        sets: group labels int64 [n], 0 .. G-1, of each set.
        themselves: whether a model forms a pair with itself.
    """

    def __init__(self, target: np.ndarray, sets: Iterable[np.ndarray], themselves: bool) -> None:
        sets = list(sets)
        self._themselves = themselves
        self._by_group = [np.argsort(groups, kind="stable") for groups in sets]
        self._sizes = [np.bincount(groups) for groups in sets]
        members = [np.eye(groups.max() + 1, dtype=np.float32)[groups] for groups in sets]
        ends = np.cumsum([each.shape[1] for each in members])
        self._slices = [slice(end - each.shape[1], end) for each, end in zip(members, ends, strict=True)]
        self._members = np.concatenate(members, axis=1)
        self._target = _ranks(target)
        self._target_greater = self._greater(self._target)

    def of(self, prediction: np.ndarray) -> list[Table]:
        """One per set."""
        prediction, target = _ranks(prediction), self._target
        both, greater = self._both_greater(prediction), self._greater(prediction)
        first, target_first = _ties_in_order_of(target, prediction), _ties_in_order_of(prediction, target)
        or_tied = greater if first is prediction else self._greater(first)
        target_or_tied = self._target_greater if target_first is target else self._greater(target_first)
        pairs = zip(both, greater, or_tied, self._target_greater, target_or_tied, strict=True)
        return [
            _table(sizes[:, None], sizes[:, None] * (not self._themselves), *each)
            for sizes, each in zip(self._sizes, pairs, strict=True)
        ]

    def _greater(self, values: np.ndarray) -> list[np.ndarray]:
        """Per set [G, G, 1]: pairs with value_i > value_j."""
        order = np.argsort(values)
        smaller = np.zeros((len(values) + 1, self._members.shape[1]), dtype=np.float32)
        np.cumsum(self._members[order], axis=0, out=smaller[1:])
        return self._by_cell(smaller[np.searchsorted(values[order], values)])

    def _both_greater(self, prediction: np.ndarray) -> list[np.ndarray]:
        """Per set [G, G, 1]: pairs that are greater in prediction and target."""
        order = PairOrder.of(-prediction, self._target)
        levels = list(levels_of(order.ranks))
        members = self._members[order.rows]
        partners = np.zeros((levels[0].rows.size, members.shape[1]), dtype=np.float32)
        for start in range(0, members.shape[1], CHUNK):
            here = slice(start, start + CHUNK)
            for rows, _, counts in discordant_partners(levels, members[:, here]):
                partners[rows, here] += counts
        in_order = np.empty_like(members)
        in_order[order.rows] = partners[: len(members)]
        return self._by_cell(in_order)

    def _by_cell(self, partners: np.ndarray) -> list[np.ndarray]:
        """Per set [G, G, 1]: each model's ``partners`` by group [n, sum G], summed over the models of a group."""
        return [
            np.add.reduceat(partners[by_group, columns], np.cumsum(sizes) - sizes, axis=0, dtype=np.float64)[..., None]
            for by_group, sizes, columns in zip(self._by_group, self._sizes, self._slices, strict=True)
        ]


def minima(
    fraction: Callable[[Table], np.ndarray],
    predictions: np.ndarray,
    target: np.ndarray,
    codes: np.ndarray,
    sets: dict[Set, np.ndarray],
    weights: np.ndarray,
    themselves: bool,
) -> np.ndarray:
    """The smallest ``fraction`` over the sets, of every method in every draw: float64 [E, D].

    A pair of models that were drawn w_i and w_j times counts w_i w_j times. All pairs are visited for each method and
    draw, and for about every third set: O(E n^2 S D) operations for S sets, most of them in matrix products.

    Args:
        fraction: from a table [3, 3, B, C, d], the score [B, d] of a set; sets for which it is NaN are left out.
        predictions: [E, n].
        target: [n].
        codes: int64 [n, K], the hyperparameters.
        sets: columns of ``codes``, at most two, with the models' groups int64 [n], 0 .. G-1.
        weights: [n, D], how often each model is in each draw.
        themselves: whether a model forms a pair with itself and with its copies.
    """
    n, draws = weights.shape
    values = np.full((len(predictions), draws), np.nan)
    target = _ranks(target)
    methods = [
        (prediction, _ties_in_order_of(target, prediction), _ties_in_order_of(prediction, target))
        for prediction in map(_ranks, predictions)
    ]
    for groups, coarser in _shared(codes, sets):
        unions = [_unions(groups, each) for each in coarser]
        step = max(1, min(draws, WEIGHT_CHUNK // n, COUNT_CHUNK // (9 * (groups.max() + 1) ** 2)))
        for start in range(0, draws, step):
            here = slice(start, start + step)
            drawn = _Drawn(groups, weights[:, here])
            own = drawn.sums(drawn.weights) * (not themselves)
            target_greater = drawn.greater(target)
            for value, (prediction, first, target_first) in zip(values[:, here], methods, strict=True):
                greater = drawn.greater(prediction)
                or_tied = greater if first is prediction else drawn.greater(first)
                target_or_tied = target_greater if target_first is target else drawn.greater(target_first)
                orders = greater, or_tied, target_greater, target_or_tied
                pairs = drawn.both_greater(prediction, target, *orders), *orders
                for union in unions:
                    table = _table(union @ drawn.sizes, union @ own, *(_united(union, each) for each in pairs))
                    np.fmin(value, fraction(table).ravel()[: len(value)], out=value)
    return values


def _shared(codes: np.ndarray, sets: dict[Set, np.ndarray]) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Groups [n] by up to three columns, with the coarser groups by the sets of some of these; yields each set once."""
    left = dict(sets)
    values = codes.max(axis=0) + 1

    def parts(columns: tuple[int, ...]) -> list[Set]:
        return [each for each in left if {*each} <= {*columns}]

    while left:
        columns = max(left, key=len)
        more = [(*columns, other) for other in range(len(values)) if other not in columns]
        more = [each for each in more if values[[*each]].prod() <= _SHARED_GROUPS]
        columns = max([columns, *more], key=lambda each: len(parts(each)))
        yield labels(codes[:, columns]), [left.pop(each) for each in parts(columns)]


def _unions(groups: np.ndarray, coarser: np.ndarray) -> np.ndarray:
    """float32 [G, F], 1 where one of G coarser groups holds one of F groups, of labels [n] of both."""
    unions = np.zeros((coarser.max() + 1, groups.max() + 1), dtype=np.float32)
    unions[coarser, groups] = 1
    return unions


def _united(unions: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """[B, G, G, d], pairs by cell of the coarser groups, from those of the groups [B, F, F, d]."""
    return (unions @ (unions @ pairs).swapaxes(1, 2)).swapaxes(1, 2)


class _Drawn:
    """Resampled models, sorted by group, with their draws in B chunks of d; the last chunk is padded with empty draws.

    Attributes:
        weights: [B, n, d], float32 where that is exact for all sums.
        sizes: [B, G, d], models per group.
    """

    def __init__(self, groups: np.ndarray, weights: np.ndarray) -> None:
        n, draws = weights.shape
        self._order = np.argsort(groups, kind="stable")
        ends = np.cumsum(np.bincount(groups)).tolist()
        self._groups = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        # Whole numbers below 2^24: at most half of the ordered pairs of different models are greater in a vector.
        exact = np.float32 if int(weights.sum(axis=0, dtype=np.int64).max()) ** 2 < 1 << 25 else np.float64
        chunks = -(-draws // CHUNK)
        filled = np.zeros((n, chunks, -(-draws // chunks)), dtype=exact)
        filled.reshape(n, -1)[:, :draws] = weights[self._order]
        self.weights = np.ascontiguousarray(filled.swapaxes(0, 1))
        self.sizes = self.sums(np.ones_like(self.weights))
        # Buffers for values per model, padded to whole chunks of rows: allocating them costs more than filling them.
        self._partners, self._product = np.empty((2, chunks, -(-n // CHUNK) * CHUNK, filled.shape[2]), dtype=exact)

    def sums(self, partners: np.ndarray) -> np.ndarray:
        """[B, groups, d]: weighted sums over the models of a group, of numbers [B, m, d] for the first m models."""
        groups = [group for group in self._groups if group.stop <= partners.shape[1]]
        sums = np.empty((len(partners), len(groups), partners.shape[2]), dtype=partners.dtype)
        for number, group in enumerate(groups):
            np.einsum("bid,bid->bd", partners[:, group], self.weights[:, group], out=sums[:, number])
        return sums

    def greater(self, ranks: np.ndarray) -> np.ndarray:
        """[B, G, G, d]: pairs with rank_i > rank_j by the group of i and of j."""
        tied = _tied(ranks)
        ranks = ranks[self._order]
        chunks, groups, d = self.sizes.shape
        pairs = np.empty((chunks, groups, groups, d), dtype=self.sizes.dtype)
        for number, group in enumerate(self._groups):
            rising = np.argsort(ranks[group])
            smaller = np.zeros((chunks, len(rising) + 1, d), dtype=pairs.dtype)
            np.cumsum(self.weights[:, group][:, rising], axis=1, out=smaller[:, 1:])
            # For two groups without ties, the pairs that are not greater in one direction are greater in the other.
            rows = len(ranks) if tied else group.stop
            places = np.searchsorted(ranks[group][rising], ranks[:rows])
            sums = self.sums(np.take(smaller, places, axis=1, out=self._partners[:, :rows], mode="clip"))
            pairs[:, : sums.shape[1], number] = sums
            if not tied:
                pairs[:, number, :number] = self.sizes[:, :number] * self.sizes[:, [number]] - sums[:, :number]
        return pairs

    def both_greater(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        greater: np.ndarray,
        or_tied: np.ndarray,
        target_greater: np.ndarray,
        target_or_tied: np.ndarray,
    ) -> np.ndarray:
        """[B, G, G, d]: pairs that are greater in the ranks of both; the others as in ``_table``."""
        prediction, target = (self._chunks(ranks) for ranks in (prediction, target))
        chunks, _, d = self.weights.shape
        # BLAS multiplies matrices of this size in the caller's thread, see ``bootstrap``.
        most = CHUNK**2 // d
        pairs = np.empty_like(greater)
        for number, group in enumerate(self._groups):
            rows = -(-group.stop // CHUNK)
            partners, product = (
                room[:, : rows * CHUNK].reshape(chunks, rows, CHUNK, d) for room in (self._partners, self._product)
            )
            partners[:] = 0
            for start in range(group.start, group.stop, most):
                some = slice(start, min(start + most, group.stop))
                both = prediction[:rows] > prediction.reshape(-1)[some]
                both &= target[:rows] > target.reshape(-1)[some]
                partners += np.matmul(both.astype(product.dtype), self.weights[:, None, some], out=product)
            pairs[:, : number + 1, number] = self.sums(self._partners[:, : group.stop])
        # Pairs of [b, a] are smaller in both vectors in [a, b]: smaller in the target, less those smaller only there.
        first, second = np.triu_indices(len(self._groups), k=1)
        there, back = (slice(None), first, second), (slice(None), second, first)
        alone = greater[there] - pairs[there] - (target_or_tied[there] - target_greater[there])
        alone += or_tied[back] - greater[back]
        pairs[back] = target_greater[back] - alone
        return pairs

    def _chunks(self, ranks: np.ndarray) -> np.ndarray:
        """In the order of the groups, int32 [chunks, CHUNK, 1]; the last chunk is padded with -1, below all ranks."""
        chunks = np.full((-(-len(ranks) // CHUNK), CHUNK, 1), -1, dtype=np.int32)
        chunks.reshape(-1)[: len(ranks)] = ranks[self._order]
        return chunks


def _table(
    sizes: np.ndarray,
    own: np.ndarray,
    both: np.ndarray,
    greater: np.ndarray,
    or_tied: np.ndarray,
    target_greater: np.ndarray,
    target_or_tied: np.ndarray,
) -> Table:
    """The table of all cells [a, b], from counts of pairs.

    Args:
        sizes: [..., G, d], models per group.
        own: [..., G, d], pairs of models with themselves that are left out.
        both: [..., G, G, d], pairs that are greater in both vectors.
        greater: [..., G, G, d], pairs that are greater in the prediction.
        or_tied: ``greater`` plus the pairs that are tied in the prediction and greater in the target; the same array as
            ``greater`` if nothing is tied.
        target_greater, target_or_tied: likewise for the target.
    """
    second, first = np.tril_indices(sizes.shape[-2])
    within = first == second

    def there(pairs: np.ndarray) -> np.ndarray:
        return pairs[..., first, second, :]

    def back(pairs: np.ndarray) -> np.ndarray:
        return pairs[..., second, first, :]

    counts = np.zeros((3, 3, *sizes.shape[:-2], len(first), sizes.shape[-1]))
    counts[2, 2] = there(both)
    if or_tied is not greater:
        counts[1, 2], counts[1, 0] = (way(or_tied - greater) for way in (there, back))
    if target_or_tied is not target_greater:
        counts[2, 1], counts[0, 1] = (way(target_or_tied - target_greater) for way in (there, back))
    counts[0, 2] = there(target_greater) - counts[2, 2] - counts[1, 2]
    counts[2, 0] = there(greater) - counts[2, 2] - counts[2, 1]
    counts[0, 0] = back(both)
    pairs = sizes[..., first, :].astype(np.float64) * sizes[..., second, :]
    pairs[..., within, :] -= own
    counts[1, 1] = pairs - counts.sum(axis=(0, 1))
    return Table(counts, within)


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 0, equal where values are tied."""
    return np.unique(values, return_inverse=True)[1]


def _tied(ranks: np.ndarray) -> bool:
    return bool(ranks.max(initial=-1) + 1 < len(ranks))


def _ties_in_order_of(other: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """``ranks`` with ties in the order of the ``other`` ranks; the same array if there are no ties."""
    return _ranks(ranks * len(ranks) + other) if _tied(ranks) else ranks


def nats(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mutual information of the first two axes of ``counts`` [A, B, ...], and the entropy of the second axis.

    Both [...] are in nats times the sum of the counts, which are whole numbers. They are exactly 0 if an axis is
    constant: rounding must not leave such a cell a remainder.
    """
    total = _times_log(counts.sum(axis=0).sum(axis=0))
    first = total - _times_log(counts.sum(axis=1)).sum(axis=0)
    second = total - _times_log(counts.sum(axis=0)).sum(axis=0)
    both = total - _times_log(counts).sum(axis=0).sum(axis=0)
    return np.maximum(first + second - both, 0), second


def _times_log(counts: np.ndarray) -> np.ndarray:
    return counts * np.log(np.maximum(counts, 1))
