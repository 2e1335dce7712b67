"""Figures outside the workflow: in a notebook, and from a file of the user's own."""

import subprocess
import sys

import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic import OPTIONS, THINGS

from vaepipe.figures import draw
from vaepipe.figures.registry import own_entry
from vaepipe.stages import plot
from vaepipe.storage.errors import DataError
from vaepipe.storage.tables import write_table
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.specs import FigureSpec
from vaepipe.study.study import Study

pytest_plugins = ["synthetic"]

OWN = '''"""Norms of the distortions.

Their distribution over all trials.
"""
TABLES = {"attacks": ("loss", "norm")}

def draw(data, options):
    from matplotlib.figure import Figure
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(sorted(data.table("attacks")["norm"]), label="norm")
    return figure
'''


@pytest.fixture
def folder(tables, tmp_path):
    """results/tables of a study without its configuration."""
    for name, end in (("attacks", "parquet"), ("images", "parquet"), ("models", "csv")):
        write_table(tmp_path / f"results/tables/{name}.{end}", tables[name])
    return tmp_path / "results/tables"


def test_a_figure_in_a_notebook_shows_what_the_workflow_draws(folder, data):
    figure = draw("adversarial_loss", folder, width="column", resamples=200)
    assert isinstance(figure, Figure) and figure.get_figwidth() == 3.4
    from vaepipe.figures.adversarial_loss import draw as drawn

    expected = drawn(data["adversarial_loss"], OPTIONS)
    numbers = ["estimate", "low", "high"]
    assert pd.DataFrame(figure.rows)[numbers].equals(pd.DataFrame(expected.rows)[numbers])


def test_wrong_calls_are_one_line(folder, tmp_path):
    for name, options, message in (
        ("adversarial", {}, "no such figure; there are adversarial_loss"),
        ("elbo", {"width": "wide"}, "width: Input should be 'column' or 'page'"),
        ("montage/digits", {}, "config.json: no such file"),
    ):
        with pytest.raises(DataError, match=message):
            draw(name, folder, **options)
    with pytest.raises(DataError, match="no such file"):
        draw("elbo", tmp_path)


def test_importing_draw_is_light():
    heavy = "('matplotlib', 'pandas', 'torch')"
    code = f"import sys, vaepipe.figures; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_figure_of_the_users_own_is_written_with_numbers_and_caption(folder, tmp_path):
    path = tmp_path / "norms.py"
    path.write_text(OWN)
    spec = FigureSpec(plot=OPTIONS.model_copy(update={"figures": {"norms": str(path)}}), things=THINGS)
    outs = [tmp_path / f"norms.{end}" for end in ("png", "pdf", "csv", "md", "txt")]
    tables = ["--attacks", str(folder / "attacks.parquet")]
    plot.main(["norms", "--spec", spec.to_json(), *tables, "--out", *map(str, outs)])
    assert all(out.stat().st_size for out in outs)
    assert outs[3].read_text() == "**Norms of the distortions.** Their distribution over all trials.\n"
    norms = pd.read_parquet(folder / "attacks.parquet")["norm"]
    assert pd.read_csv(outs[2])["y"].tolist() == pytest.approx(sorted(norms))
    study = Study({"study": ["digits"], "plot": {"figures": {"norms": str(path)}}})
    from vaepipe.study import drawings

    assert "norms" in drawings.figure_names(study)


def test_a_file_that_cannot_draw_is_refused_before_anything_runs(tmp_path):
    for text, message in (
        ("draw = (", "not a Python file"),
        ("TABLES = {}", "needs a function draw"),
        ("def draw(data, options): ...", "needs TABLES"),
        ("TABLES = 3\ndef draw(data, options): ...", "TABLES must be such as"),
    ):
        path = tmp_path / "own.py"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            own_entry(str(path))
        with pytest.raises(ConfigError, match=r"plot\.figures\.own: .*own\.py"):
            Study({"study": ["digits"], "plot": {"figures": {"own": str(path)}}})
    with pytest.raises(ConfigError, match="a figure of this package has that name"):
        Study({"study": ["digits"], "plot": {"figures": {"elbo": str(path)}}})
