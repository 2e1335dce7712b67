"""The notebook of the documentation runs from top to bottom, and its figures are made."""

import nbformat
import pytest
from conftest import HANGS, ROOT
from nbclient import NotebookClient

SMALLER = """
from vaepipe.tools.audit_run import BUDGETS, Size

BUDGETS["quick"]["size"] = Size(pairs=4, lambdas=6, steps=15, polish=0, images=50)
"""
"""A cell before all others: audits of less than half of the rows, with less than half of the evaluations."""


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(ROOT / "docs/audit.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SMALLER))
    client = NotebookClient(
        notebook,
        timeout=HANGS,
        startup_timeout=HANGS,
        kernel_name="python3",
        resources={"metadata": {"path": tmp_path}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    text = "".join(output.get("text", "") for output in outputs)
    assert "digits-vae" in text and "fooled at h ≤ 0.25" in text
