"""Random numbers that belong to task numbers, so that drawing tasks needs no state.

Philox is a counter-based generator: the numbers at any position of its stream can be had without those before. Task t
of a stream owns the positions [t·n, (t+1)·n). Any run of consecutive tasks is then one vectorised call, and the tasks
are the same however they are cut into batches, resumed, prefetched or spread over processes.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import zlib
from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["distinct", "integers", "normals", "rounds", "uniforms", "weighted"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK = 4  # Philox4x64 yields four numbers for each value of its counter


def uniforms(seed: int, stream: str, first: int, count: int, each: int) -> Floats:
    """Uniform numbers in [0, 1) for the tasks first … first + count − 1.

    Args:
        seed: any non-negative integer.
        stream: a name; different names give independent numbers.
        first: number of the first task.
        count: number of tasks.
        each: numbers per task.

    Returns:
        Array `[task, each]`; row i depends on `seed`, `stream`, `first + i` and `each` alone.

    Raises:
        TypeError: an argument that is no whole number.
        ValueError: a negative argument.
    """
    for name, value in (("seed", seed), ("first", first), ("count", count), ("each", each)):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
    blocks = -(-each // _BLOCK)
    # The key is 128 bits: the seed in one half, the stream's name in the other.
    bits = np.random.Philox(key=np.array([seed % 2**64, zlib.crc32(stream.encode())], dtype=np.uint64))
    bits.advance(first * blocks)
    return np.random.Generator(bits).random((count, blocks * _BLOCK))[:, :each]


def integers(uniform: Floats, low: Integers | int, high: Integers | int) -> Integers:
    """Uniform integers of [low, high], both ends included, from uniform numbers."""
    return (low + np.floor(uniform * (np.asarray(high) - low + 1))).astype(np.int64)


def normals(uniform: Floats) -> Floats:
    """Standard normal numbers from uniform numbers."""
    # The smallest uniform number is 0, where the inverse of the normal distribution is −∞.
    return ndtri(np.maximum(uniform, 2.0**-54))


def distinct(uniform: Floats, population: Integers | int) -> Integers:
    """Ordered draws without replacement: k different numbers of 0 … population − 1 in every row.

    Floyd's algorithm gives a uniform subset in k steps whatever the size of the population (keys for the whole
    population and a sort would cost ten times as much when 5 of 4,112 classes are drawn); a random order follows.

    Args:
        uniform: `[..., 2 k]` uniform numbers.
        population: size of the population, one for all or `[...]`; where it is smaller than k, the draws beyond it
            are −1.

    Returns:
        `[..., k]` numbers.
    """
    k = uniform.shape[-1] // 2
    population = np.broadcast_to(np.asarray(population, dtype=np.int64), uniform.shape[:-1])
    wanted = np.minimum(k, population)
    chosen = np.full((*uniform.shape[:-1], k), -1, dtype=np.int64)
    for i in range(k):
        top = population - wanted + i
        draw = integers(uniform[..., i], 0, top)
        taken = (chosen[..., :i] == draw[..., None]).any(-1)
        chosen[..., i] = np.where(i < wanted, np.where(taken, top, draw), -1)
    order = np.argsort(uniform[..., k:] + (chosen < 0), axis=-1)  # what was not drawn goes last
    return np.take_along_axis(chosen, order, -1)


def weighted(uniform: Floats, weights: Integers | Floats, k: int) -> Integers:
    """Ordered draws without replacement, every next one with probability in proportion to the weights left.

    Efraimidis & Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 2006.

    Args:
        uniform: `[task, n]` uniform numbers.
        weights: `[n]`, positive.
        k: how many, at most n.

    Returns:
        `[task, k]` numbers of 0 … n − 1.
    """
    waits = -np.log1p(-uniform) / np.asarray(weights)  # the first k arrivals of n exponential clocks
    return np.argsort(waits, -1)[:, :k].astype(np.int64)


def rounds(seed: int, stream: str, first: int, count: int, size: int, shuffle: bool) -> Integers:
    """Members of a finite collection: everyone once, then everyone once again, each round in an order of its own.

    Args:
        seed, stream: as for `uniforms`.
        first, count: which draws.
        size: of the collection.
        shuffle: False keeps the collection's order in every round.

    Returns:
        `count` numbers of 0 … size − 1.
    """
    number = np.arange(first, first + count)
    if not shuffle:
        return number % size
    orders = {r: np.argsort(uniforms(seed, stream, int(r), 1, size)[0]) for r in np.unique(number // size)}
    return np.array([orders[n // size][n % size] for n in number], dtype=np.int64).reshape(count)
