"""Metrics as sums over sums, and their intervals: the bootstrap that resamples whole images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Metric = tuple[str, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric of N answers: a sum over a sum, or the mean of such ratios over kinds of answers (balanced accuracy).

    numerators, denominators: (N,). kinds: the number of each answer's kind, (N,). is_mean: whether it is the mean of
    the numerators of the answers whose denominator is 1, so that models can be compared answer by answer.
    """

    name: str
    numerators: Floats
    denominators: Floats
    kinds: NDArray[np.int64]
    is_mean: bool = False

    @property
    def value(self) -> float:
        """The metric over all answers."""
        numerators, denominators = self.sums(np.zeros(len(self.numerators), dtype=np.int64), 1)
        return float(mean_ratio(numerators, denominators)[0])

    def sums(self, codes: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
        """Sums by group and kind, (count, kinds) each; ``codes`` are the numbers of the answers' groups, (N,)."""
        shape = (count, int(self.kinds.max()) + 1)
        cells = np.ravel_multi_index((codes, self.kinds), shape)
        parts = (self.numerators, self.denominators)
        numerators, denominators = (np.bincount(cells, each, shape[0] * shape[1]).astype(float) for each in parts)
        return numerators.reshape(shape), denominators.reshape(shape)


def mean_ratio(numerators: Floats, denominators: Floats) -> Floats:
    """Mean over kinds of sum over sum: (R, kinds) twice -> (R,); a kind with no answers does not count."""
    ratios = np.divide(numerators, denominators, out=np.zeros_like(numerators), where=denominators > 0)
    return np.asarray(ratios.sum(axis=1) / np.maximum((denominators > 0).sum(axis=1), 1))


def mean_of(name: str, values: ArrayLike) -> Estimate:
    """The mean of values (N,)."""
    numbers = np.asarray(values, dtype=np.float64)
    return Estimate(name, numbers, np.ones_like(numbers), np.zeros(len(numbers), dtype=np.int64), is_mean=True)


def mean_where(name: str, values: ArrayLike, counted: ArrayLike) -> Estimate:
    """The mean of the values (N,) that are counted, (N,) of booleans."""
    ones = np.asarray(counted, dtype=np.float64)
    numbers = np.asarray(values, dtype=np.float64) * ones
    return Estimate(name, numbers, ones, np.zeros(len(ones), dtype=np.int64), is_mean=True)


def mean_over_kinds(name: str, values: ArrayLike, kinds: Sequence[str]) -> Estimate:
    """The mean over kinds of the mean of each kind's values (N,)."""
    numbers = np.asarray(values, dtype=np.float64)
    return Estimate(name, numbers, np.ones_like(numbers), np.unique(np.asarray(kinds), return_inverse=True)[1])


def ratio_of(name: str, numerators: ArrayLike, denominators: ArrayLike) -> Estimate:
    """The sum of the numerators (N,) over the sum of the denominators (N,)."""
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    return Estimate(name, above, below, np.zeros(len(above), dtype=np.int64))


class Bootstrap:
    """95 % percentile intervals by resampling whole groups (images), since answers about one image depend on it.

    Source: the cluster bootstrap (Efron and Tibshirani, 1993). All metrics get the same resamples, and so does the same
    seed. count: the number of groups. A single group has no interval, since all its resamples are equal.
    """

    def __init__(self, groups: ArrayLike, resamples: int, seed: int) -> None:
        """``groups``: the group of each of N answers. ``resamples``: how many are taken."""
        self._codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        self.count = count = int(self._codes.max()) + 1
        rng = np.random.default_rng(seed)
        times = [np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(resamples)]
        self._times = np.stack(times).astype(np.float64)

    def weights(self) -> Iterator[Floats]:
        """How often each answer (N,) is in each resample."""
        return (times[self._codes] for times in self._times)

    def interval(self, estimate: Estimate) -> tuple[float, float]:
        """Low and high end of a metric of the same answers."""
        numerators, denominators = estimate.sums(self._codes, self.count)
        ratios = mean_ratio(self._times @ numerators, self._times @ denominators)
        low, high = np.percentile(ratios, [2.5, 97.5])
        return float(low), float(high)

    def with_interval(self, name: str, value: float, interval: tuple[float, float]) -> Iterator[Metric]:
        """The value and, if there is more than one group, its interval as ``NAME_low`` and ``NAME_high``."""
        yield name, value
        if self.count > 1:
            yield f"{name}_low", interval[0]
            yield f"{name}_high", interval[1]

    def metrics(self, prefix: str, estimates: Iterable[Estimate]) -> Iterator[Metric]:
        """Each estimate's value and interval, by the name ``PREFIX/NAME``."""
        for each in estimates:
            yield from self.with_interval(f"{prefix}/{each.name}", each.value, self.interval(each))
