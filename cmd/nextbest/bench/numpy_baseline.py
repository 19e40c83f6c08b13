"""Off-policy estimators and their bootstrap in plain numpy, vectorised, on arrays in memory."""

import json
import resource
import sys
import time

import numpy as np

n, k, replicates = map(int, sys.argv[1:4])
rng = np.random.default_rng(7)
action = rng.integers(0, k, n)
pscore = rng.uniform(0.01, 0.81, n)
pi = rng.dirichlet(np.ones(k), n)
q = rng.uniform(0, 0.1, (n, k))
reward = (rng.uniform(size=n) < 0.05).astype(float)

start = time.perf_counter()
rows = np.arange(n)
w = pi[rows, action] / pscore
q_a = q[rows, action]
q_pi = np.einsum("ij,ij->i", pi, q)
e = reward - q_a
rounds = {
    "ips": w * reward,
    "clipped_ips": np.minimum(w, 10) * reward,
    "snips": w * reward / w.mean(),
    "dm": q_pi,
    "dr": q_pi + w * e,
    "clipped_dr": q_pi + np.minimum(w, 10) * e,
    "sndr": q_pi + w * e / w.mean(),
    "switch_dr": q_pi + w * e * (w <= 10),
    "dros": q_pi + 100 * w / (w**2 + 100) * e,
    "subgaussian_ips": w / (1 - 0.01 + 0.01 * w) * reward,
    "subgaussian_dr": q_pi + w / (1 - 0.01 + 0.01 * w) * e,
    "log_smoothing": np.log1p(0.01 * w * reward) / 0.01,
}
beta = ((w**2 - w) * reward).mean() / (w**2 - w).mean()
rounds["beta_ips"] = w * (reward - beta) + beta
values = {name: float(v.mean()) for name, v in rounds.items()}
estimates = time.perf_counter() - start

start = time.perf_counter()
for name in ("ips", "snips", "dr"):
    v = rounds[name]
    means = np.array([v[rng.integers(0, n, n)].mean() for _ in range(replicates)])
    np.percentile(means, [2.5, 97.5])
bootstrap = time.perf_counter() - start

print(json.dumps({
    "version": np.__version__,
    "seconds": estimates + bootstrap,
    "estimates_seconds": estimates,
    "bootstrap_seconds": bootstrap,
    "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
