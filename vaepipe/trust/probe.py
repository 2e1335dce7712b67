"""The downstream task: a linear classifier on the latents of labelled data."""

from __future__ import annotations

import numpy as np


class Probe:
    """Multinomial logistic regression on standardised latents (scikit-learn, L2 with C = 1).

    Args:
        latents: (N, D) posterior means of all layers side by side. labels: (N,).
    """

    def __init__(self, latents: np.ndarray, labels: np.ndarray, seed: int = 0):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self._classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))
        self._classifier.fit(latents, labels)

    def accuracy(self, latents: np.ndarray, labels: np.ndarray) -> float:
        return float((self.classes(latents) == labels).mean())

    def classes(self, latents: np.ndarray) -> np.ndarray:
        """(N,) predicted labels."""
        return self._classifier.predict(latents)
