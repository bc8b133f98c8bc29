"""Prints tests/golden/jax_random.txt: keys, bits, uniforms and normals computed by JAX.

Usage: python make_random_fixture.py > tests/golden/jax_random.txt  (needs the package jax)

A line is a case and its 32-bit words in hexadecimal, arguments before the colon; floats are given by
their bits. Keys are (upper word, lower word). Indices count the elements of an array in row-major order.
"""

import jax
import numpy as np
from jax.extend.random import threefry2x32_p

jax.config.update("jax_enable_x64", True)  # seeds of more than 32 bits
assert jax.config.jax_threefry_partitionable

SEEDS = [0, 1, 42, 2**32 - 1, 2**40 + 5, 0x0123456789ABCDEF]
SHAPE = (3, 5, 7)
RANGES = [(0.0, 1.0), (-1.0, 1.0), (0.1, 0.7), (-0.3, 1.9), (-0.02, 0.05)]


def words(array):
    array = np.ascontiguousarray(array)
    return " ".join(f"{word:08x}" for word in array.view(np.uint32).ravel())


def line(name, arguments, result):
    print(f"{name} {words(np.array(arguments, np.uint32))} : {words(result)}")


def key_words(key):
    return np.asarray(jax.random.key_data(key))


def main():
    print(f"# JAX {jax.__version__}, jax_threefry_partitionable; written by scripts/reference/")
    for seed in SEEDS:
        key = jax.random.key(seed)
        name = key_words(key)
        line("seed", [seed >> 32, seed & 0xFFFFFFFF], name)
        line("split", [*name, 5], key_words(jax.random.split(key, 5)))
        for data in [0, 1, 7, 2**31, 2**32 - 1]:
            line("fold_in", [*name, data], key_words(jax.random.fold_in(key, np.uint32(data))))
        line("bits", [*name, 0], jax.random.bits(key, SHAPE, np.uint32))
        for hi, lo in [(0, 0), (1, 5), (0xFFFFFFFF, 0xFFFFFFFF)]:
            x = [np.uint32(word) for word in [*name, hi, lo]]
            line("threefry", x, np.array(threefry2x32_p.bind(*x), np.uint32))
        line("normal", [*name, 0], jax.random.normal(key, SHAPE, np.float32))
        for bounds in RANGES:
            lo, hi = (np.float32(bound) for bound in bounds)
            uniforms = jax.random.uniform(key, SHAPE, np.float32, lo, hi)
            line("uniform", [*name, lo.view(np.uint32), hi.view(np.uint32)], uniforms)
    # Where the normals' polynomials change and end: many draws, and the rarest of them by index.
    key = jax.random.key(3)
    draws = np.asarray(jax.random.normal(key, (1 << 20,), np.float32))
    for index in np.argsort(np.abs(draws))[[0, 1, 2, -3, -2, -1]]:
        line("normal", [*key_words(key), index], draws[index : index + 1])


main()
