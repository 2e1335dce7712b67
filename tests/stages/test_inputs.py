"""Which rows of the tables the figures and claims get."""

import pandas as pd

from vaepipe.stages.inputs import CELL, read_tables


def test_rows_of_snapshots_reach_only_those_that_ask_for_them(tmp_path):
    cell = {name: ["digits"] * 3 for name in CELL}
    pd.DataFrame(cell | {"snapshot": [5, 0, 20], "elbo": [-9.0, -5.0, -7.0]}).to_csv(
        tmp_path / "models.csv", index=False
    )
    needed, paths = {"models": ("elbo",)}, {"models": tmp_path / "models.csv"}
    assert read_tables(needed, paths)["models"]["elbo"].tolist() == [-5.0]
    assert read_tables(needed, paths, snapshots=True)["models"]["elbo"].tolist() == [-9.0, -5.0, -7.0]
