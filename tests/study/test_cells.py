"""Cells, tokens, blocks."""

import re

from hypothesis import given
from hypothesis import strategies as st

from vaepipe.study import cells, jobs
from vaepipe.study.settings import External, Grid

AXES = {"families": ("vae", "beta-vae", "beta-tcvae"), "betas": (1, 2, 0.5), "d_z": (4, 8), "seeds": (0, 1)}


def test_beta_one_is_one_model_shared_by_the_families():
    models = cells.cells("digits", Grid(**AXES))
    assert len(models) == (1 + 2 * 2) * 2 * 2
    assert len({cell.name for cell in models}) == len(models)
    assert {cell.family for cell in models if cell.beta == 1} == {"vae"}
    assert {cell.beta for cell in models if cell.family == "vae"} == {1}


def test_the_vae_is_there_when_it_is_asked_for_without_beta_one():
    models = cells.cells("digits", Grid(**AXES | {"betas": (4,)}))
    assert [cell.beta for cell in models if cell.family == "vae"] == [1.0] * 4


def test_paths_name_the_cell():
    cell = cells.Cell("digits", "beta-tcvae", 4.0, 16, 0)
    name = "digits/beta-tcvae/beta~4/dz~16/seed~0"
    assert jobs.weights(cell) == f"results/models/{name}/model.safetensors"
    assert jobs.output("attack", cell, "latent-kl") == f"results/attacks/{name}/latent-kl.h5"
    assert (
        jobs.output("attack_block", cell, "output", "lambda~1")
        == f"results/attacks/{name}/output/lambda~1.h5"
    )


@given(st.floats(1e-6, 1e6))
def test_a_token_reads_back_to_eight_digits_and_suits_a_path(value):
    token = cells.token(value)
    assert abs(float(token) - value) <= 1e-7 * value
    assert re.fullmatch(r"[0-9.e+-]+", token)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60, unique_by=cells.token), st.integers(1, 70))
def test_blocks_divide_the_lambdas_and_have_their_own_names(values, per_job):
    blocks = cells.blocks(sorted(values), per_job)
    assert [v for block in blocks.values() for v in block] == sorted(values)
    assert all(len(block) <= per_job for block in blocks.values())
    assert len(blocks) == -(-len(values) // per_job)


def test_with_one_lambda_per_job_a_new_lambda_changes_no_other_block():
    before, after = cells.blocks([1.0, 4.0], 1), cells.blocks([1.0, 2.0, 4.0], 1)
    assert before.items() < after.items()
    assert cells.blocks([1.0, 4.0], "all") == {}


def test_constraints_match_the_tokens_and_nothing_else():
    pattern = re.compile(cells.constraint(["1", "1.5", "1e-05"]))
    assert all(pattern.fullmatch(t) for t in ("1", "1.5", "1e-05"))
    assert not any(pattern.fullmatch(t) for t in ("1x5", "15", "", "1e-0"))
    assert not re.fullmatch(cells.constraint([]), "")


def test_the_autoencoder_has_no_beta_and_the_seatbelt_its_own_model_at_one():
    axes = AXES | {"families": ("ae", "seatbelt", "beta-vae"), "d_z": (4,), "seeds": (0,)}
    models = cells.cells("digits", Grid(**axes))
    assert [(cell.family, cell.beta) for cell in models] == [
        ("ae", 0), ("seatbelt", 1), ("seatbelt", 2), ("seatbelt", 0.5),
        ("vae", 1), ("beta-vae", 2), ("beta-vae", 0.5),
    ]  # fmt: skip
    assert cells.losses(models[0], ["latent-kl"], {}) == []
    assert cells.losses(models[1], ["latent-kl"], {}) == ["latent-kl"]


def test_a_model_from_elsewhere_is_attacked_by_the_losses_that_it_names_in_the_order_of_the_study():
    options = {"entry": "a:b", "weights": "w", "dataset": "digits", "shape": (1, 8, 8), "d_z": 4}
    models = {"mine": External(**options, losses=("output", "latent-mean")), "other": External(**options)}
    mine, other = cells.external("digits", models)
    wanted = ["latent-mean", "latent-kl", "output"]
    assert cells.losses(mine, wanted, models) == ["latent-mean", "output"]
    assert cells.losses(mine, ["latent-kl"], models) == []
    assert cells.losses(other, wanted, models) == wanted
