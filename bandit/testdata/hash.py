"""Writes hash.json, the columns of hashed features that every language must find.

XXH64 is written out here after its specification, so that nothing is shared
with the Go code.

    python3 hash.py > hash.json
"""

import json
import struct

M = (1 << 64) - 1
P1, P2, P3, P4, P5 = 11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579, 2870177450012600261


def rotate(x, r):
    return ((x << r) | (x >> (64 - r))) & M


def accumulate(a, lane):
    return (rotate((a + lane * P2) & M, 31) * P1) & M


def xxh64(b, seed=0):
    n, i = len(b), 0
    if n >= 32:
        v = [(seed + P1 + P2) & M, (seed + P2) & M, seed, (seed - P1) & M]
        while i + 32 <= n:
            for k in range(4):
                v[k] = accumulate(v[k], struct.unpack_from("<Q", b, i)[0])
                i += 8
        h = sum(rotate(a, r) for a, r in zip(v, (1, 7, 12, 18))) & M
        for a in v:
            h = ((h ^ accumulate(0, a)) * P1 + P4) & M
    else:
        h = (seed + P5) & M
    h = (h + n) & M
    while i + 8 <= n:
        h = (rotate(h ^ accumulate(0, struct.unpack_from("<Q", b, i)[0]), 27) * P1 + P4) & M
        i += 8
    if i + 4 <= n:
        h = (rotate(h ^ (struct.unpack_from("<I", b, i)[0] * P1) & M, 23) * P2 + P3) & M
        i += 4
    while i < n:
        h = (rotate(h ^ (b[i] * P5) & M, 11) * P1) & M
        i += 1
    for shift, prime in ((33, P2), (29, P3), (32, 1)):
        h = ((h ^ (h >> shift)) * prime) & M
    return h


assert xxh64(b"") == 0xEF46DB3751D8E999 and xxh64(b"abc") == 0x44BC2CF5AD770999
rows = []
for feature, width, value in [
    ("channel", 64, "Web"),
    ("channel", 64, "Phone"),
    ("channel", 64, ""),
    ("zip", 64, "10115"),
    ("zip", 1000, "10115"),
    ("kanal", 64, "Web"),
    ("channel", 7, "Ключ 🔑"),
    ("merchant", 1024, "Österreichische Bundesbahnen, Wien Hauptbahnhof"),
]:
    seed = xxh64(feature.encode())
    column = xxh64(value.encode(), seed) % width
    rows.append(json.dumps({"feature": feature, "hash": width, "value": value, "seed": "%016x" % seed, "column": column}, ensure_ascii=False))
print("[\n " + ",\n ".join(rows) + "\n]")
