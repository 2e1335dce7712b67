"""Pairs of image and target: of other classes or factors that vary, and never equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaepipe.attacks.pairs import choose_pairs, draw_pairs
from vaepipe.datasets.part import Part
from vaepipe.storage.errors import DataError

LABELS = st.one_of(st.none(), st.lists(st.integers(0, 2), min_size=12, max_size=12))
FACTORS = st.one_of(
    st.none(), st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=12, max_size=12)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), LABELS, FACTORS, st.integers(0, 12))
def test_targets_differ_in_pixels_and_in_kind(values, labels, factors, count):
    x = np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    label = None if labels is None else np.array(labels)
    classes = None if factors is None else np.array(factors)
    part = Part(x, label, classes, ("a", "b", "c") if factors else ())
    varying = classes[:, (classes != classes[0]).any(0)] if classes is not None else np.zeros((12, 0))

    def may_be(i: int, j: int) -> bool:
        if (x[i] == x[j]).all():
            return False
        if label is not None and len(set(label)) > 1:
            return label[i] != label[j]
        return not varying.shape[1] or (varying[i] != varying[j]).sum() > varying.shape[1] / 2

    with_target = [i for i in range(12) if any(may_be(i, j) for j in range(12))]
    if len(with_target) < count:
        with pytest.raises(
            DataError, match=f"only {len(with_target)} of the 12 held-out images have a target"
        ):
            draw_pairs(part, count, 0)
        return
    pairs = draw_pairs(part, count, 0)
    assert pairs.shape == (count, 2) and len(set(pairs[:, 0])) == count
    assert all(may_be(i, j) for i, j in pairs)
    np.testing.assert_array_equal(pairs[: count // 2], draw_pairs(part, count // 2, 0))


def test_listed_pairs_that_are_equal_are_refused():
    part = Part(np.zeros((4, 1, 8, 8), np.uint8))
    with pytest.raises(DataError, match=r"\[0, 1\] are equal in all pixels"):
        choose_pairs(part, [[0, 1]], 0)
