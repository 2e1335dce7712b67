"""Minibatch estimators of the total correlation beside its exact value, on a toy aggregate posterior.

    python scripts/compare_estimators.py [--batch 64 256 4000]

N = 4,000 isotropic normals, σ² = 0.25, with means drawn so that q(z) is near N(0, I), D = 10. The script
prints the mean over minibatches, and its standard error, of TC and of the index-code mutual information, in
nats. Exact values are sums over all N components.
"""

from __future__ import annotations

import argparse
import math

import torch

from vaepipe.metrics import decompose
from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.total_correlation import log_aggregate_posterior

N, D, VARIANCE = 4000, 10, 0.25


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, N], help="images per minibatch")
    options = parser.parse_args()
    random = torch.Generator().manual_seed(0)
    mean = torch.randn(N, D, generator=random) * math.sqrt(1 - VARIANCE)
    q = DiagonalNormal(mean, torch.full((N, D), 0.5 * math.log(VARIANCE)))
    z = q.sample(torch.randn(N, D, generator=random))
    exact = decompose(*q, z)
    print("| estimator | B | TC | MI |\n|---|---|---|---|")
    print(f"| exact | | {row(exact.total_correlation)} | {row(exact.mutual_information)} |")
    for B in options.batch:
        batches = torch.randperm(N, generator=random)[: N // B * B].view(-1, B)
        for estimator in ("mss", "mss-chen", "mws"):
            tc, information = [], []
            for rows in batches:
                its = q.rows(rows)
                log_qz, log_marginals = log_aggregate_posterior(z[rows], *its, N, estimator)
                tc.append((log_qz - log_marginals).mean())
                information.append((its.log_prob(z[rows]) - log_qz).mean())
            spread = [
                (v.mean(), v.std() / math.sqrt(len(v)) if len(v) > 1 else 0)
                for v in map(torch.stack, (tc, information))
            ]
            print(f"| `{estimator}` | {B} | {row(spread[0])} | {row(spread[1])} |")


def row(value) -> str:
    return f"{float(value[0]):.2f} ± {float(value[1]):.2f}"


if __name__ == "__main__":
    main()
