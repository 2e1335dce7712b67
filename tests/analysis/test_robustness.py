"""Curves of distortion, success and similarity against brute force and known values."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_images
from scipy.ndimage import convolve1d
from sklearn.metrics import auc

from vaepipe.analysis import robustness
from vaepipe.metrics.ms_ssim import WEIGHTS, ms_ssim, window_and_scales


def test_ratio_is_one_undistorted_zero_at_the_targets_floor_and_undefined_without_a_span():
    found = robustness.ratio([3.0, 1.0, 2.0, 5.0, 1.0, 1.0], 1.0, [3.0, 3.0, 3.0, 3.0, 1.0, 0.5])
    np.testing.assert_allclose(found, [1, 0, 0.5, 2, np.nan, np.nan])


def test_auddc_of_known_curves():
    assert robustness.auddc([0, 0.5], [1, 0]) == pytest.approx(0.25)  # a triangle, then 0 to the end
    assert robustness.auddc([0], [1]) == pytest.approx(1)  # never moved
    assert robustness.auddc([0, 0.5, 1.0], [1, 0.2, 0.6]) == pytest.approx(0.3 + 0.2)
    assert math.isnan(robustness.auddc([1.5, 2], [0.1, 0.2]))
    assert robustness.auddc([0, 0.5, 1.5], [1, 0, -9]) == pytest.approx(
        0.25
    )  # h > 1 does not count, not even for the least v
    assert robustness.auddc([0, 0.25, 0.5], [1, np.nan, 0]) == pytest.approx(0.25)


def test_auddc_is_the_published_recipe_whatever_the_order_of_lambda():
    random = np.random.default_rng(0)
    for _ in range(50):
        h, v = random.uniform(0, 1.3, 30), random.normal(0.5, 0.5, 30)
        points = sorted((a, b) for a, b in zip(h, v) if a <= 1)
        xs, ys = (list(axis) for axis in zip(*points))
        expected = auc([*xs, max(xs), 1.0], [*ys, min(ys), min(ys)])
        order = random.permutation(30)
        assert robustness.auddc(h[order], v[order]) == pytest.approx(expected)


def test_many_pairs_at_once_with_rows_of_any_order_and_number_are_as_one_by_one():
    random = np.random.default_rng(1)
    numbers = random.permutation(np.repeat(np.arange(30), random.integers(1, 12, 30)))
    h, v = random.uniform(0, 1.3, len(numbers)), random.normal(0.5, 0.5, len(numbers))
    v[random.random(len(v)) < 0.2] = np.nan
    grids = robustness.by_pair(numbers, h, v)
    for name in ("auddc", "success"):
        more = (0.7,) if name == "success" else ()
        found = getattr(robustness, name)(*grids, *more)
        alone = [getattr(robustness, name)(h[numbers == n], v[numbers == n], *more) for n in range(30)]
        np.testing.assert_allclose(found, alone, rtol=1e-12)
    assert 0 < np.isnan(robustness.auddc(*grids)).sum() < 30


def table(L=7, P=5, seed=0):
    """Rows (λ, pair) of one model as collect makes them; pair 4 has O < T."""
    random = np.random.default_rng(seed)
    rows = [
        {"pair": p, "lam": 2.0**row, "objective": random.uniform(1, 9), "initial_divergence": 10.0 + p,
         "norm": 0.0 if row == L - 1 else random.uniform(0, 3), "converged": bool(random.integers(2)),
         "target_nll": random.uniform(50, 60), "input_distance": 2.0 + p / 4,
         "adversarial_distance": random.uniform(0.5, 4), "target_distance": 1.0,
         "original_distance": 0.9 if p == 4 else 3.0}
        for row in range(L) for p in range(P)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    distances = (frame[f"{name}_distance"] for name in ("adversarial", "target", "original"))
    return frame.assign(ratio=robustness.ratio(*distances))


def test_the_summary_against_loops_over_pairs():
    frame = table()
    found = robustness.summary(frame.sample(frac=1, random_state=0))
    assert set(found) < {quantity.name for quantity in robustness.COLUMNS}
    assert found["pairs"] == 5 and found["lambdas"] == 7 and found["auddc_pairs"] == 4
    assert found["initial_divergence"] == pytest.approx(12)
    assert found["adversarial_loss"] == pytest.approx(sum(frame["objective"]) / 35)
    assert found["relative_loss"] == pytest.approx(found["adversarial_loss"] / 12)
    assert found["share_unmoved"] == pytest.approx(5 / 35)
    for budget in robustness.BUDGETS:
        fooled = 0
        for p in range(4):
            rows = frame[frame["pair"] == p]
            fooled += any(
                row["norm"] <= budget * row["input_distance"] and (row["adversarial_distance"] - 1) / 2 < 0.5
                for _, row in rows.iterrows()
            )
        assert found[f"success_{100 * budget:.0f}"] == pytest.approx(fooled / 4)
    areas = [
        robustness.auddc(rows["norm"] / rows["input_distance"], (rows["adversarial_distance"] - 1) / 2)
        for _, rows in frame[frame["pair"] < 4].groupby("pair")
    ]
    assert found["auddc"] == pytest.approx(np.mean(areas)) and found["auddc_sd"] == pytest.approx(
        np.std(areas, ddof=1)
    )


def test_success_by_label_is_that_of_the_pairs_of_each_label():
    frame, labels = table(), np.array([3, 1, 3, 3, 1])
    found = robustness.by_label(frame.sample(frac=1, random_state=0), labels)
    assert [(row["label"], row["pairs"]) for row in found] == [(1, 1), (3, 3)]  # pair 4 has O < T
    for row, own in zip(found, ([1], [0, 2, 3])):
        alone = robustness.summary(frame[frame["pair"].isin(own)])
        assert {key: row[key] for key in row if key.startswith("success")} == {
            key: alone[key] for key in alone if key.startswith("success")
        }
    assert robustness.by_label(frame.assign(ratio=np.nan), labels) == []


def test_success_grows_with_the_budget_and_a_model_that_separates_no_pair_has_none():
    for seed in range(10):
        found = robustness.summary(table(seed=seed))
        shares = [found[f"success_{100 * budget:.0f}"] for budget in robustness.BUDGETS]
        assert shares == sorted(shares)
    found = robustness.summary(table().assign(ratio=np.nan))
    assert found["auddc_pairs"] == 0 and math.isnan(found["auddc"]) and math.isnan(found["success_100"])


def ssim_by_hand(a, b, window, scales):
    """Wang et al. 2003 in NumPy on grey images: valid windows, halving by means; even sides."""
    at = np.arange(window) - window // 2
    kernel = np.exp(-(at**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    half, product = window // 2, 1.0

    def local(image):
        smooth = convolve1d(convolve1d(image, kernel, 0), kernel, 1)
        return smooth[half : len(image) - half, half : image.shape[1] - half]

    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    for scale, weight in enumerate(weights):
        ma, mb = local(a), local(b)
        va, vb, cov = local(a * a) - ma**2, local(b * b) - mb**2, local(a * b) - ma * mb
        contrast = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
        luminance = (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        product *= (contrast * (luminance if scale == scales - 1 else 1)).mean() ** weight
        a, b = (image.reshape(len(image) // 2, 2, -1, 2).mean((1, 3)) for image in (a, b))
    return product


@pytest.mark.parametrize(("side", "window", "scales"), [(8, 7, 1), (28, 11, 2), (64, 11, 3)])
def test_ms_ssim_against_numpy_with_as_many_scales_as_fit(side, window, scales):
    assert window_and_scales(side) == (window, scales)
    a = make_images(3, (1, side, side))
    b = (a + 0.3 * torch.rand(a.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    expected = [
        ssim_by_hand(p[0].double().numpy(), q[0].double().numpy(), window, scales) for p, q in zip(a, b)
    ]
    np.testing.assert_allclose(ms_ssim(a, b), expected, rtol=2e-4)
    torch.testing.assert_close(ms_ssim(a, a), torch.ones(3))
    torch.testing.assert_close(ms_ssim(a, b), ms_ssim(b, a))


def test_ms_ssim_of_any_size_and_of_what_is_not_finite():
    for side in (1, 2, 3, 5, 9, 10, 11, 21, 41, 81, 162):
        window, scales = window_and_scales(side)
        assert window % 2 == 1 and window <= side and (window - 1) * 2 ** (scales - 1) < side
        a = make_images(1, (3, side, side + 1))
        assert ms_ssim(a, a).item() == pytest.approx(1, abs=1e-5)
    b = make_images(2)
    b[1, 0, 0, 0] = math.nan
    assert ms_ssim(make_images(2, seed=5), b).isnan().tolist() == [False, True]
    assert ms_ssim(3 * make_images(1), 3 * make_images(1)).item() == pytest.approx(1)
