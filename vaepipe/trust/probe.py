"""The downstream task: a linear classifier on the latents of labelled data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vaepipe.datasets.scale import to_unit_interval
from vaepipe.trust.attacked_model import AttackedModel

if TYPE_CHECKING:
    from vaepipe.datasets.part import Part

BATCH = 1024
"""Images that are encoded at once."""


class Probe:
    """Multinomial logistic regression on standardised latents (scikit-learn, L2 with C = 1).

    Args:
        latents: (N, D) posterior means of all layers side by side.
        labels: (N,).
    """

    def __init__(self, latents: np.ndarray, labels: np.ndarray, seed: int = 0):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        regression = LogisticRegression(max_iter=1000, random_state=seed)
        self._classifier = make_pipeline(StandardScaler(), regression)
        self._classifier.fit(latents, labels)

    def accuracy(self, latents: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of rows whose label is predicted."""
        return float((self.classes(latents) == labels).mean())

    def classes(self, latents: np.ndarray) -> np.ndarray:
        """Return predicted labels (N,)."""
        return self._classifier.predict(latents)


@torch.no_grad()
def encode(model: Any, x: Tensor) -> np.ndarray:
    """Return the posterior means (N, Σ D_l) of all layers side by side."""
    parts = [
        torch.cat([q.mean for q in model.posterior(to_unit_interval(batch))], 1) for batch in x.split(BATCH)
    ]
    return torch.cat(parts).cpu().numpy()


def check_probe(
    attacked: AttackedModel, train: Part, test: Part, pairs: np.ndarray, images: int
) -> dict[str, np.ndarray]:
    """Fit a linear classifier to the latents of training images; apply it to clean and attacked images.

    Args:
        train, test: splits with labels.
        pairs: (P, 2) rows of the held-out split.
        images: training images that the classifier is fitted to: the first ones.
    """
    model, device = attacked.model, attacked.x.device
    fitted = train[:images]
    assert fitted.label is not None and test.label is not None
    probe = Probe(encode(model, torch.from_numpy(fitted.x).to(device)), fitted.label)
    classes = [probe.classes(encode(model, attacked.x + d)) for d in attacked.distortion]
    accuracy = probe.accuracy(encode(model, torch.from_numpy(test.x).to(device)), test.label)
    return {
        "probe_accuracy": np.array(accuracy),
        "probe_class": np.stack(classes),
        "probe_label": test.label[pairs],
    }
