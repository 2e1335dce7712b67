"""The formats of files with arrays: how each is opened, and what it says about axes and truth values."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from vaepipe.storage.errors import DataError

NPY_START = b"\x93NUMPY"
LIST_ARRAYS = """
import json, sys
from scipy.io import whosmat
print(json.dumps({name: kind for name, _, kind in whosmat(sys.argv[1])}))
"""
READ_ARRAY = """
import sys
import numpy
from scipy.io import loadmat
numpy.save(sys.argv[3], loadmat(sys.argv[1], variable_names=[sys.argv[2]])[sys.argv[2]], allow_pickle=False)
"""
NO_NUMBERS = ("cell", "struct", "object", "opaque", "function", "char", "sparse", "unknown")
"""Classes of MATLAB that hold no images."""
MATLAB_CLASS = "MATLAB_class"
"""Attribute of every array in a MATLAB 7.3 file."""


class _InMemory:
    """The context of an array that needs no closing."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __enter__(self) -> np.ndarray:
        return self.array

    def __exit__(self, *_) -> None:
        del self.array


class _InHdf5:
    """The context of an array in an HDF5 file, which is open only inside the context."""

    def __init__(self, path: Path, key: str):
        self.path, self.key = path, key

    def __enter__(self) -> h5py.Dataset:
        self.file = h5py.File(self.path, "r", locking=False)
        array = self.file[self.key]
        filters = array.id.get_create_plist()
        for i in range(filters.get_nfilters()):
            code, _, _, name = filters.get_filter(i)
            if not h5py.h5z.filter_avail(code):
                self.file.close()
                kind = f"filter {code} ({name.decode(errors='replace')})"
                remedy = (
                    "which is not installed; write it with gzip or without, for example h5repack -f GZIP=4"
                )
                raise DataError(f"{self.path}, {self.key}: compressed with the HDF5 {kind}, {remedy}")
        return array

    def __exit__(self, *_) -> None:
        self.file.close()


Reader = Callable[[str], AbstractContextManager]
"""Takes a key and gives a context, which gives the array."""


@dataclass
class Formats:
    """The arrays of a file and how its format means them.

    Attributes:
        open: takes the name of an array and gives a context, which gives the array as it is stored.
        is_matlab: whether MATLAB or scipy wrote the file.
        reversed: names of the arrays whose axes are stored in reverse.
        logical: names of the integer arrays that hold truth values.
    """

    open: Reader
    names: list[str]
    is_matlab: bool = False
    reversed: set[str] = field(default_factory=set)
    logical: set[str] = field(default_factory=set)

    def is_reversed(self, name: str) -> bool:
        return name in self.reversed

    def is_logical(self, name: str) -> bool:
        return name in self.logical


def open_formats(path: Path) -> Formats:
    """Open a file by its content. Mapped memory is released after each use."""
    if h5py.is_hdf5(path):
        return _open_hdf5(path)
    with open(path, "rb") as file:
        start = file.read(len(NPY_START))
    if start == NPY_START:
        return Formats(lambda key: _InMemory(np.load(path, mmap_mode="r", allow_pickle=False)), [""])
    if zipfile.is_zipfile(path):
        return _open_npz(path)
    if path.suffix.lower() == ".mat":
        return _open_mat(path)
    if path.suffix.lower() == ".safetensors":
        return _open_safetensors(path)
    raise OSError("no such format")


def _open_hdf5(path: Path) -> Formats:
    """Open an HDF5 file. MATLAB 7.3 writes such files too, with the axes in reverse and marks of its own."""
    found = Formats(lambda key: _InHdf5(path, key), [])

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("#"):  # what MATLAB's cells refer to
            return
        found.names.append(name)
        if MATLAB_CLASS in item.attrs:
            found.is_matlab = True
            found.reversed.add(name)
            kind = item.attrs[MATLAB_CLASS]
            if (kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)) == "logical":
                found.logical.add(name)

    with h5py.File(path, "r", locking=False) as file:
        file.visititems(visit)
    return found


def _open_safetensors(path: Path) -> Formats:
    """Open a .safetensors file. Its arrays are read whole."""
    from safetensors import SafetensorError, safe_open

    def read(key: str) -> _InMemory:
        try:
            with safe_open(path, "np") as file:
                return _InMemory(file.get_tensor(key))
        except (SafetensorError, AttributeError) as error:  # such as bfloat16, which numpy does not have
            raise ValueError(str(error)) from error

    try:
        with safe_open(path, "np") as file:
            return Formats(read, list(file.keys()))
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _open_mat(path: Path) -> Formats:
    """Open a file of MATLAB before 7.3. Its arrays are read whole, each at its first use."""
    folder = tempfile.TemporaryDirectory(prefix="vaepipe-")
    arrays: dict[str, Path] = {}

    def read(key: str) -> _InMemory:
        if key not in arrays:
            target = Path(folder.name, f"{len(arrays)}.npy")
            _run_scipy(READ_ARRAY, path, key, target)
            arrays[key] = target
        return _InMemory(np.load(arrays[key], mmap_mode="r", allow_pickle=False))

    kinds = json.loads(_run_scipy(LIST_ARRAYS, path))
    kinds = {name: kind for name, kind in kinds.items() if kind not in NO_NUMBERS}
    logical = {name for name, kind in kinds.items() if kind == "logical"}
    return Formats(read, list(kinds), is_matlab=True, logical=logical)


def _run_scipy(code: str, *arguments: object) -> str:
    """Return what a few lines of Python print. They run in their own process, as scipy's reader can crash
    on a damaged file.

    Raises:
        ValueError: the last line of the error, or that the reader crashed.
    """
    command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ValueError(lines[-1] if lines and done.returncode > 0 else "scipy crashed on it")
    return done.stdout


def _open_npz(path: Path) -> Formats:
    """Open an .npz file. An array is unpacked to a temporary file at its first use, as zips have no random
    access."""
    with zipfile.ZipFile(path) as file:
        names = [name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")]
    folder = tempfile.TemporaryDirectory(prefix="vaepipe-")
    unpacked: dict[str, Path] = {}

    def read(key: str) -> _InMemory:
        if key not in unpacked:
            target = Path(folder.name, f"{len(unpacked)}.npy")
            with zipfile.ZipFile(path) as file, file.open(f"{key}.npy") as member:
                size = file.getinfo(f"{key}.npy").file_size
                if size > shutil.disk_usage(folder.name).free:
                    free = f"more than is free in {tempfile.gettempdir()}; set TMPDIR"
                    raise DataError(f"{path}, {key}: {size} bytes unpacked, {free}")
                with open(target, "wb") as out:
                    shutil.copyfileobj(member, out, 2**20)
            unpacked[key] = target
        return _InMemory(np.load(unpacked[key], mmap_mode="r", allow_pickle=False))

    return Formats(read, names)
