"""History of L-BFGS: the last pairs (step s, change of the gradient y) of each slot, and their products."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vaepipe.attacks.solvers.slots import PerSlot
from vaepipe.attacks.solvers.vectors import dot, norm

CURVATURE = 1e-8
"""Least cosine between s and y of a pair that is kept."""


class History(PerSlot):
    """Up to m pairs of each of A slots.

    Attributes:
        pairs: (A, 2m, n), a ring of m steps, then one of m changes.
        gram: (A, 2, m, m) float64, products s·y (upper triangle) and y·y, the oldest pair first.
        gamma: (A, 1) float64, s·y / y·y of the newest pair.
        count: (A,) pairs stored since the history was last dropped.
        places: (A, 2m) places in the ring by age, the oldest pair first; s, then y.
        buffer: (A, 3, n) the candidate pair and the gradient of the free variables, see `buffers`.
    """

    shared: ClassVar[tuple[str, ...]] = ("_ages",)

    def __init__(self, x: Tensor, memory: int):
        """``x`` (A, n): any tensor of the type and device to work in; ``memory``: m."""
        A, n, m = *x.shape, memory
        self.memory = m
        self.pairs, self.buffer = x.new_zeros(A, 2 * m, n), x.new_zeros(A, 3, n)
        self.gram = torch.zeros(A, 2, m, m, dtype=torch.float64, device=x.device)
        self.gamma = torch.zeros(A, 1, dtype=torch.float64, device=x.device)
        self.count = torch.zeros(A, dtype=torch.long, device=x.device)
        ring = (torch.arange(m)[:, None] + torch.arange(m)) % m
        self._ages = torch.cat([ring, m + ring], 1).to(x.device)  # (m, 2m), by the count mod m
        self.places = self._ages[self.count]

    def forget(self, slot: Tensor) -> None:
        """Drop the history of these slots (K,): pairs become zero, their s·y the identity."""
        m = self.memory
        self.count[slot], self.pairs[slot], self.gamma[slot] = 0, 0, 1
        self.gram[slot] = torch.stack([torch.eye(m), torch.zeros(m, m)]).to(self.gram)

    def buffers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Step, change of the gradient, gradient of the free variables: views (A, n) to fill before `learn`.

        They are parts of one tensor, so that their products with all pairs are one matrix product.
        """
        step, change, free_gradient = self.buffer.unbind(1)
        return step, change, free_gradient

    def learn(self, candidate: Tensor) -> Tensor:
        """Store the pairs in the buffers, and multiply the buffers with all pairs.

        A variable that does not move is left out of y. So the history is of the variables that were free
        then, no old pair needs a mask, and each product is made once.

        Args:
            candidate: (A,) bool, slots whose buffers hold a pair; it is kept where it shows curvature.

        Returns:
            (A, 2m) float64: products of the free gradient with all steps and all changes, oldest first.
        """
        m = self.memory
        step, change, _ = self.buffers()
        change.mul_(step.sign().abs_())
        kept = candidate & (dot(step, change) > CURVATURE * norm(step) * norm(change))
        slot = kept.nonzero()[:, 0]
        place = self.count[slot] % m
        self.pairs[slot[:, None], torch.stack([place, m + place], 1)] = self.buffer[slot, :2]
        self.count += kept
        self.places = self._ages[self.count % m]
        products = torch.bmm(self.buffer[:, 1:], self.pairs.transpose(1, 2)).double()  # A, 2, 2m
        products = products.gather(2, self.places[:, None].expand(-1, 2, -1))
        self._append(slot, products[slot, 0].unflatten(1, (2, m)))
        return products[:, 1]

    def _append(self, slot: Tensor, with_change: Tensor) -> None:
        """Add the newest pair to the products of these slots (K,), in place of the oldest.

        Args:
            with_change: (K, 2, m) products of the newest y with all s and with all y.
        """
        before = self.gram[slot]
        gram = before.clone()
        gram[:, :, :-1, :-1] = before[:, :, 1:, 1:]
        gram[:, :, :, -1] = with_change
        gram[:, 1, -1] = with_change[:, 1]
        self.gram[slot], self.gamma[slot] = gram, with_change[:, :1, -1] / with_change[:, 1:, -1]
