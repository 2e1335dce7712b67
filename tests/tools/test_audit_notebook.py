"""The notebook of the documentation runs from top to bottom, and its figures are made."""

import nbformat
import pytest
from conftest import HANGS, ROOT
from nbclient import NotebookClient


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(ROOT / "docs/audit.ipynb", as_version=4)
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
