#!/usr/bin/env python3
"""Makes vectors.json: the numbers that every implementation of the generator must give.

Written from the contract in the package comment and from the paper, without
sight of the Go code. Run: python3 vectors.py > vectors.json
"""

import json
import math
import sys

MASK = 0xFFFFFFFF
INIT, SHUFFLE, AUGMENT, DROPOUT, SYNTHETIC, GOLDEN = 1, 2, 3, 4, 5, 100


def philox(counter, key):
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (b >> 32) ^ x1 ^ k0, b & MASK, (a >> 32) ^ x3 ^ k1, a & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [x0, x1, x2, x3]


def block(seed, purpose, epoch, index):
    return philox((index & MASK, index >> 32, epoch, purpose), (seed & MASK, seed >> 32))


def word(seed, purpose, epoch, i):
    return block(seed, purpose, epoch, i // 4)[i % 4]


def normal(seed, purpose, epoch, i):
    b = block(seed, purpose, epoch, i // 4)
    u0, u1 = b[0:2] if i % 4 < 2 else b[2:4]
    r = math.sqrt(-2.0 * math.log((u0 + 1) * 2.0**-32))
    t = 2.0 * math.pi * u1 * 2.0**-32
    return r * math.cos(t) if i % 2 == 0 else r * math.sin(t)


def permutation(seed, purpose, epoch, n):
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = (word(seed, purpose, epoch, i) * (i + 1)) >> 32
        order[i], order[j] = order[j], order[i]
    return order


def fnv1a(name):
    h = 2166136261
    for byte in name.encode():
        h = ((h ^ byte) * 16777619) & MASK
    return h


def main():
    # Random123, tests/kat_vectors, "philox4x32 10".
    known = [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([MASK] * 4, [MASK] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ]
    for counter, key, want in known:
        got = philox(counter, key)
        if got != want:
            sys.exit(f"philox: counter {counter}: got {got}, want {want}")

    big = 0x0123456789ABCDEF
    streams = [(1, INIT, fnv1a("conv1.weight")), (big, GOLDEN, 0), (2**64 - 1, DROPOUT, MASK), (7, SYNTHETIC, 3)]
    orders = [(1, SHUFFLE, 0, 0), (1, SHUFFLE, 0, 1), (1, SHUFFLE, 0, 10), (1, SHUFFLE, 1, 10), (big, SHUFFLE, 399, 101)]
    json.dump(
        {
            "about": "made by: python3 vectors.py > vectors.json",
            "known": [{"counter": c, "key": k, "want": w} for c, k, w in known],
            "blocks": [
                {"seed": s, "purpose": p, "epoch": e, "index": i, "want": block(s, p, e, i)}
                for s, p, e in streams
                for i in (0, 1, 2**32 - 1, 2**32, 2**61 + 12345)
            ],
            "streams": [
                {
                    "seed": s,
                    "purpose": p,
                    "epoch": e,
                    "first": first,
                    "words": [word(s, p, e, first + i) for i in range(10)],
                    "normals": [normal(s, p, e, first + i) for i in range(10)],
                }
                for s, p, e in streams
                for first in (0, 3, 2**34 - 5)
            ],
            "permutations": [
                {"seed": s, "purpose": p, "epoch": e, "n": n, "want": permutation(s, p, e, n)} for s, p, e, n in orders
            ],
            "names": [{"name": n, "want": fnv1a(n)} for n in ("", "a", "foobar", "layer1.0.bn1.weight", "größe")],
        },
        sys.stdout,
        indent=1,
    )
    print()


if __name__ == "__main__":
    main()
