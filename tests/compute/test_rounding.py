"""MKL's rounding mode is set before PyTorch multiplies."""

import os
import subprocess
import sys

import pytest

CODE = "import {module}, os, sys; print(os.environ['MKL_CBWR'], 'torch' in sys.modules)"


@pytest.mark.parametrize("module", ["vaepipe", "vaepipe.attacks", "vaepipe.stages.prepare"])
@pytest.mark.parametrize(("given", "mode"), [(None, "AVX2,STRICT"), ("COMPATIBLE", "COMPATIBLE")])
def test_importing_the_package_sets_how_mkl_rounds_unless_the_user_has(module, given, mode):
    environment = {key: value for key, value in os.environ.items() if key != "MKL_CBWR"}
    environment |= {"MKL_CBWR": given} if given else {}
    command = [sys.executable, "-c", CODE.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == [mode, "False"]
