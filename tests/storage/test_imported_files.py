"""What a user's file imports of its neighbours."""

from vaepipe.storage.imported_files import imported_files


def test_neighbours_are_followed_and_nothing_else(tmp_path):
    files = {
        "net.py": "import os, layers\nfrom blocks import residual\nfrom blocks.deep import core\n",
        "layers.py": "def act():\n    import later\n",
        "later.py": "import layers\n",
        "blocks/__init__.py": "from . import norm\n",
        "blocks/residual.py": "",
        "blocks/norm.py": "from ..layers import act\n",
        "blocks/deep/core.py": "",
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {path.relative_to(tmp_path).as_posix() for path in imported_files(tmp_path / "net.py")}
    assert found == set(files) - {"unused.py"}
    (tmp_path / "net.py").write_text("import (")
    assert imported_files(tmp_path / "net.py") == [tmp_path / "net.py"]
