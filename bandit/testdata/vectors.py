"""Writes vectors.json, the numbers that Go and Python must both reproduce.

Everything here is computed by other means than the Go code: hashlib, exact
fractions, and mpmath's adaptive quadrature at 40 digits.

    python3 vectors.py > vectors.json
"""

import hashlib
import json
import uuid
from fractions import Fraction

import mpmath

mpmath.mp.dps = 40


def uniform(salt, key):
    digest = hashlib.sha256(salt.encode() + b"\0" + key.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def draw(p, u):
    """First index at which the running float64 sum exceeds u."""
    total, last = 0.0, -1
    for i, v in enumerate(p):
        if v > 0:
            total, last = total + v, i
            if u < total:
                return i
    return last


def gaussian(mean, sd):
    """P(score a is the largest); sd 0 is a point mass, ties among those split."""
    lo = max(m - 9 * s for m, s in zip(mean, sd))
    hi = max(m + 9 * s for m, s in zip(mean, sd))
    cuts = sorted({mpmath.mpf(c) for m, s in zip(mean, sd) for z in range(-9, 10) for c in [m + z * s] if lo < c < hi} | {mpmath.mpf(lo), mpmath.mpf(hi)})
    points = [m for m, s in zip(mean, sd) if s == 0]
    top = max(points, default=None)

    def others(y, skip):
        return mpmath.fprod(mpmath.ncdf((y - m) / s) for b, (m, s) in enumerate(zip(mean, sd)) if s > 0 and b != skip)

    p = []
    for a, (m, s) in enumerate(zip(mean, sd)):
        if s == 0:
            p.append(others(m, a) / points.count(top) if m == top else mpmath.mpf(0))
            continue
        use = [c for c in cuts if top is None or c >= top]
        p.append(mpmath.quad(lambda y: mpmath.npdf(y, m, s) * others(y, a), use) if len(use) > 1 else mpmath.mpf(0))
    assert abs(sum(p) - 1) < mpmath.mpf(10) ** -12, (mean, sd, sum(p))
    return [float(v) for v in p]


keys = [("s1", "C-1042"), ("", ""), ("exp-1/arm", "0f3a"), ("s1", "ключ"), ("a" * 200, "b" * 300)]
ids = [uuid.UUID("01930000-0000-7000-8000-000000000001"), uuid.UUID("0193e7b2-5c1d-7abc-9def-0123456789ab"), uuid.UUID(int=0)]
tiny = 2.0**-53
draws = [
    ([0.5, 0.5], [0.0, 0.5 - tiny, 0.5, 1 - tiny]),
    ([0.0, 0.25, 0.0, 0.75, 0.0], [0.0, 0.25 - tiny, 0.25, 1 - tiny]),
    ([0.1] * 10, [0.0, 0.1, 0.3, 0.7999999999999999, 0.9999999999999998, 1 - tiny]),
    ([1.0], [0.0, 1 - tiny]),
    ([0.0005, 0.9995], [0.0004999, 0.0005, 0.3]),
    ([1 / 3, 1 / 3, 1 / 3], [1 / 3, 2 / 3, 1 - tiny]),
    ([0.0, 0.0], [0.5]),
]
scores = [
    ([0.0], [1.0]),
    ([0.0, 0.0], [1.0, 1.0]),
    ([0.1, 0.0], [1.0, 2.0]),
    ([0.0, 3.0], [1.0, 1.0]),
    ([0.2, 0.1, 0.05, 0.0, -0.3], [0.3, 0.1, 0.5, 0.02, 0.9]),
    ([1.0, 1.0001, 0.9], [1.0, 1e-4, 0.3]),
    ([5.0, 5.0, 4.0, 6.0], [0.0, 0.0, 1.0, 0.5]),
    ([1.0, 1.0], [0.0, 0.0]),
    ([1e6, 1e6 + 0.5], [1.0, 2.0]),
    ([-0.5, 0.0, 0.25, 0.5, 0.75, 0.1, 0.2, 0.3], [1.0, 0.1, 0.01, 0.5, 0.05, 1.0, 1.0, 0.2]),
]
floors = [([1.0, 0.0, 0.0], 0.02), ([0.7, 0.2, 0.1], 0.0), ([0.25] * 4, 1.0)]

print(json.dumps({
    "uniform": [{"salt": s, "key": k, "value": uniform(s, k)} for s, k in keys],
    "draw_uniform": [{"salt": "s1", "id": str(i), "slot": n, "value": uniform("s1", f"{i}/{n}")} for i in ids for n in (1, 2, 255)],
    "draw": [{"p": p, "u": u, "index": draw(p, u)} for p, us in draws for u in us],
    "gaussian_maximum": [{"mean": m, "sd": s, "p": gaussian(m, s)} for m, s in scores],
    "floor": [{"p": p, "epsilon": e, "mu": [float((1 - Fraction(e)) * Fraction(v) + Fraction(e) / len(p)) for v in p]} for p, e in floors],
}, indent=1, ensure_ascii=False))
