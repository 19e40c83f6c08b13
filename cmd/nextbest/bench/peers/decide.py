#!/usr/bin/env python3
"""Measure one decision of Vowpal Wabbit and MABWiser beside `nextbest bench decide`.

    python3 decide.py --nextbest ./nextbest > decide.json

makes a virtual environment of its own (in --environment, kept for the next
run), installs the versions in requirements.txt, runs `nextbest bench decide
--json` and the peers one after the other on one core, and prints the program's
result with a list "peers" in it. K actions and d features, a model trained on
20 rows per action, the shortest of many runs, as the program measures. What the
peers do per decision is not quite the same: see "what".
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = 20  # per action


def install(folder):
    """Return the interpreter of an environment that has the peers."""
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", os.path.join(HERE, "requirements.txt")], check=True)
    return python


def shortest(call, span=0.5):
    """Nanoseconds of one call in the shortest of many runs of some 2 ms."""
    call()
    begin = time.perf_counter_ns()
    call()
    calls = max(1, 2_000_000 // max(1, time.perf_counter_ns() - begin))
    least, end = float("inf"), time.perf_counter() + span
    while time.perf_counter() < end:
        begin = time.perf_counter_ns()
        for _ in range(calls):
            call()
        least = min(least, (time.perf_counter_ns() - begin) / calls)
    return least


def context(rng, features):
    return [1.0] + [rng.gauss(0, 1) for _ in range(features - 1)]


def wabbit(name, arguments, actions, features, rng):
    """Prediction of a parsed example: features of the context crossed with the action."""
    import vowpalwabbit

    vw = vowpalwabbit.Workspace(f"--cb_explore_adf {arguments} -q sa --quiet --noconstant")

    def lines(x, label=None):
        shared = "shared |s " + " ".join(f"f{j}:{v:.6f}" for j, v in enumerate(x))
        arms = [f"|a a{a}" for a in range(actions)]
        if label is not None:
            arms[label[0]] = f"0:{label[1]}:{label[2]} " + arms[label[0]]
        return "\n".join([shared] + arms)

    for i in range(ROWS * actions):
        a = i % actions
        vw.learn(lines(context(rng, features), (a, -float(rng.random() < 0.2), 1 / actions)))
    example = vw.parse(lines(context(rng, features)), vowpalwabbit.LabelType.CONTEXTUAL_BANDIT)
    ns = shortest(lambda: vw.predict(example))
    vw.finish_example(example)
    vw.finish()
    return {"algorithm": name, "peer": "vowpalwabbit", "ns_per_op": ns, "what": "predict of an example parsed before, by the Python binding"}


def mabwiser(name, policy, actions, features, rng):
    """predict_expectations of one context."""
    import numpy
    from mabwiser.mab import MAB

    mab = MAB(arms=list(range(actions)), learning_policy=policy)
    contexts = numpy.array([context(rng, features) for _ in range(ROWS * actions)])
    mab.fit([i % actions for i in range(len(contexts))], [float(rng.random() < 0.2) for _ in contexts], contexts)
    one = numpy.array([context(rng, features)])
    return {"algorithm": name, "peer": "mabwiser", "ns_per_op": shortest(lambda: mab.predict(one)), "what": "predict of one context; an action, no probabilities"}


def measure(actions, features):
    from mabwiser.mab import LearningPolicy

    rng = random.Random(1)
    yield wabbit("squarecb", "--squarecb", actions, features, rng)
    yield wabbit("epsilon_greedy", "--epsilon 0.05", actions, features, rng)
    yield wabbit("softmax", "--softmax --lambda 10", actions, features, rng)
    yield mabwiser("linucb", LearningPolicy.LinUCB(alpha=1), actions, features, rng)
    yield mabwiser("linear_thompson", LearningPolicy.LinTS(alpha=0.5), actions, features, rng)
    yield mabwiser("epsilon_greedy", LearningPolicy.LinGreedy(epsilon=0.05), actions, features, rng)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nextbest", default="nextbest", help="the program")
    parser.add_argument("--environment", default=os.path.join(tempfile.gettempdir(), "nextbest-peers"), help="folder of the virtual environment")
    parser.add_argument("--actions", type=int, default=20)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--peers-only", action="store_true", help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.peers_only:
        json.dump(list(measure(o.actions, o.features)), sys.stdout)
        return
    size = ["--actions", str(o.actions), "--features", str(o.features)]
    python = install(o.environment)
    ours = json.loads(subprocess.run([o.nextbest, "bench", "decide", "--json"] + size, check=True, stdout=subprocess.PIPE).stdout)
    one_core = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    peers = json.loads(subprocess.run([python, os.path.abspath(__file__), "--peers-only"] + size, check=True, stdout=subprocess.PIPE, env=one_core).stdout)
    mine = {d["algorithm"]: d["ns_per_op"] for d in ours["result"]["decisions"]}
    for p in peers:
        p["ratio"] = p["ns_per_op"] / mine[p["algorithm"]]
    ours["result"]["peers"] = peers
    json.dump(ours, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
