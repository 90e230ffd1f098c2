"""The random numbers of Philox4x64-10 in machine code, for one counter or for many side by side.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC11). How NumPy's generator counts is in
``numpy/random/src/philox/philox.h``: the counter is raised before each block.
"""

from __future__ import annotations

from chipsim.engine.fast.ir import Function, Value

ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

LOWER = (1 << 32) - 1


def one(f: Function, counter: tuple[Value, ...], keys: Value) -> list[Value]:
    """The four words of a counter; two keys a round."""
    words = list(counter)
    for number in range(ROUNDS):
        low, high = zip(*(_product(f, words[2 * i], MULTIPLIERS[i]) for i in range(2)), strict=True)
        key = [_key(f, keys, number, i) for i in range(2)]
        words = [high[1] ^ words[1] ^ key[0], low[1], high[0] ^ words[3] ^ key[1], low[0]]
    return words


def many(f: Function, first: Value, second: Value, fourth: Value, keys: Value) -> list[Value]:
    """The words of many counters, lane by lane, whose second word is the same in all and whose third is 0.

    The first word of the second round then is the same in all, too.
    """

    def splat(value: Value) -> Value:
        return f.splat(value, first.lanes)

    lower, upper = _products(first, MULTIPLIERS[0])
    alike = _product(f, second ^ _key(f, keys, 0, 0), MULTIPLIERS[0])
    other_low, other_high = _products(upper ^ fourth ^ splat(_key(f, keys, 0, 1)), MULTIPLIERS[1])
    words = [
        other_high ^ splat(_key(f, keys, 1, 0)), other_low, splat(alike[1] ^ _key(f, keys, 1, 1)) ^ lower, splat(alike[0])
    ]  # fmt: skip
    for number in range(2, ROUNDS):
        low, high = zip(*(_products(words[2 * i], MULTIPLIERS[i]) for i in range(2)), strict=True)
        key = [splat(_key(f, keys, number, i)) for i in range(2)]
        words = [high[1] ^ words[1] ^ key[0], low[1], high[0] ^ words[3] ^ key[1], low[0]]
    return words


def _key(f: Function, keys: Value, number: int, word: int) -> Value:
    return f.load("i64", f.at(keys, 2 * number + word, 8), 8)


def _product(f: Function, word: Value, factor: int) -> tuple[Value, Value]:
    """Lower and upper half of a product of 64 bits."""
    wide = f.cast("zext", word, "i128")
    product = f.emit("i128", f"mul i128 {wide.name}, {factor}")
    return f.cast("trunc", product, "i64"), f.cast("trunc", product >> 64, "i64")


def _products(words: Value, factor: int) -> tuple[Value, Value]:
    """Lower and upper halves of products of 64 bits, from those of halves of the factors."""

    upper, lower = factor >> 32, factor & LOWER
    above, below = words >> 32, words & LOWER
    first = below * lower
    second = above * lower + (first >> 32)
    third = below * upper + (second & LOWER)
    return (third << 32) | (first & LOWER), above * upper + (second >> 32) + (third >> 32)
