"""Fetching, against a server on this machine that behaves as badly as the network does."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tenacity
from conftest import HANGS

from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.sources import fetch
from vaepipe.storage.errors import DataError

DATA = np.random.default_rng(0).bytes(300_000)
MD5 = "md5:" + hashlib.md5(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        data, status, kind = DATA, 200, "application/octet-stream"
        if "gone" in self.path:
            return self.send_error(404)
        if "page" in self.path:
            data, kind = b"\n<!DOCTYPE html><html>Quota exceeded</html>", "text/html"
        if "other" in self.path:
            data = DATA[::-1]
        if "busy" in self.path and len(server.asked) < 3:
            return self.send_error(503)
        size, start = len(data), int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if "Range" in self.headers and "norange" not in self.path:
            status = 206
            if start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                return self.end_headers()
            data = data[start:]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        cut = ("cut" in self.path and len(server.asked) < 3) or "always" in self.path
        self.wfile.write(data[: len(data) // 2] if cut else data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server. ``server.at("name")``: an address that names a behaviour; ``server.asked``: (path, range)."""
    monkeypatch.setattr(fetch, "WAIT", tenacity.wait_none())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.at = [], lambda name: f"http://127.0.0.1:{server.server_port}/{name}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def get(folder: Path, *addresses: str, checksum: str | None = MD5) -> Path:
    return fetch.fetch("mnist", folder, "data.bin", checksum, list(addresses))


def refusal(folder: Path, *addresses: str, **options) -> str:
    with pytest.raises(DataError) as caught:
        get(folder, *addresses, **options)
    assert "\n" not in str(caught.value) and not (folder / "data.bin").exists()
    return str(caught.value)


@pytest.mark.parametrize("word", ["plain", "cut", "busy", "cut-norange"])
def test_the_file_arrives_whole(tmp_path, server, word):
    path = get(tmp_path / "new", server.at(word))
    assert path.read_bytes() == DATA
    assert {file.name for file in path.parent.iterdir()} <= {"data.bin", ".data.bin.lock"}
    if word == "cut":  # a half, a quarter, the rest: nothing twice
        assert [at for _, at in server.asked] == [None, "bytes=150000-", "bytes=225000-"]


def test_a_later_run_takes_up_what_an_earlier_one_left(tmp_path, server):
    (tmp_path / "data.bin.part").write_bytes(DATA[:1234])
    assert get(tmp_path, server.at("plain")).read_bytes() == DATA
    assert server.asked == [("/plain", "bytes=1234-")]


@pytest.mark.parametrize("left", [DATA, DATA + b"more"], ids=["complete", "too long"])
def test_a_part_as_long_as_the_file_or_longer(tmp_path, server, left):
    (tmp_path / "data.bin.part").write_bytes(left)
    assert get(tmp_path, server.at("plain")).read_bytes() == DATA


def test_a_download_that_never_ends_keeps_what_it_has(tmp_path, server):
    line = refusal(tmp_path, server.at("always"))
    assert len(server.asked) == fetch.TRIES and server.at("always") in line and "datasets.mnist.path" in line
    assert (
        DATA.startswith((tmp_path / "data.bin.part").read_bytes())
        and (tmp_path / "data.bin.part").stat().st_size > 200_000
    )
    assert get(tmp_path, server.at("plain")).read_bytes() == DATA
    assert server.asked[-1][1] != "bytes=0-"


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("gone", "404"),
        ("page", "a web page instead of the file"),
        ("other", f"wrong checksum, expected {MD5}"),
    ],
)
def test_an_address_without_the_file(tmp_path, server, word, words):
    line = refusal(tmp_path, server.at(word))
    assert words in line and server.at(word) in line and line.startswith("mnist: could not fetch")
    assert len(server.asked) == 1, "asked again, although the answer was clear"
    assert not (tmp_path / "data.bin.part").exists()
    assert get(tmp_path, server.at(word), server.at("mirror")).read_bytes() == DATA


def test_a_page_is_refused_where_no_checksum_is_known(tmp_path, server):
    assert "a web page" in refusal(tmp_path, server.at("page"), checksum=None)
    assert get(tmp_path, server.at("plain"), checksum=None).read_bytes() == DATA


def test_a_server_that_is_not_there(tmp_path, server):
    address = "http://127.0.0.1:9/data"  # the port of discard
    assert address in refusal(tmp_path, address)


def test_what_is_there_needs_no_network_and_no_right_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.requests, "get", None)
    monkeypatch.setattr(fetch, "FileLock", None)
    (tmp_path / "data.bin").write_bytes(DATA)
    assert get(tmp_path, "http://nowhere.invalid") == tmp_path / "data.bin"


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path, server):
    (tmp_path / "data.bin").write_bytes(DATA[:-1])
    assert get(tmp_path, server.at("plain")).read_bytes() == DATA


def test_two_jobs_fetch_once(tmp_path, server):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(tmp_path, server.at("plain")), range(4)))
    assert len(server.asked) == 1 and set(paths) == {tmp_path / "data.bin"} and paths[0].read_bytes() == DATA


LIMITED = """
import resource, sys
from pathlib import Path
from vaepipe.storage.errors import run_stage
from vaepipe.datasets.sources.fetch import fetch
from vaepipe.stages.prepare import prepare
from vaepipe.study.specs import PrepareSpec
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
def main():
    if sys.argv[1] == "fetch":
        fetch("mnist", Path("cache"), "data.bin", None, [sys.argv[2]])
    else:
        prepare(PrepareSpec(dataset="noise", kind="array", path="noise.npy"), "out/noise.h5")
run_stage(main)
"""


@pytest.mark.parametrize("stage", ["fetch", "prepare"])
def test_a_full_disk(tmp_path, server, stage):
    """A limit on the size of files says what a full disk says."""
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).integers(0, 256, (3000, 8, 8), np.uint8))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, stage, server.at("plain")],
        cwd=tmp_path, capture_output=True, text=True, timeout=HANGS,
    )  # fmt: skip
    assert done.returncode == 1 and "File too large" in done.stderr and done.stderr.count("\n") == 1, (
        done.stderr
    )
    if stage == "prepare":
        assert "out/noise.h5" in done.stderr and not list((tmp_path / "out").iterdir())
    else:
        assert (tmp_path / "cache/data.bin.part").read_bytes() == DATA[:100_000]
        assert get(tmp_path / "cache", server.at("plain")).read_bytes() == DATA
        assert server.asked[-1][1] == "bytes=100000-"


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.delenv("VAEPIPE_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch.download_folder() == tmp_path / "vaepipe"
    monkeypatch.setenv("VAEPIPE_DATA_DIR", str(tmp_path / "shared"))
    assert fetch.download_folder() == tmp_path / "shared"


FETCHED = [name for name, info in DATASETS.items() if not info.generated and not info.own]


@pytest.mark.parametrize("name", FETCHED)
def test_every_fetched_data_set_asks_its_official_place(tmp_path, monkeypatch, name):
    asked = []

    def answer(address, **_):
        asked.append(address)
        raise fetch.requests.ConnectionError("no route\nto host")

    monkeypatch.setattr(fetch, "WAIT", tenacity.wait_none())
    monkeypatch.setattr(fetch.requests, "get", answer)
    with pytest.raises(DataError) as caught:
        DATASETS[name].load(name, None, tmp_path)
    line = str(caught.value)
    assert "\n" not in line and "no route to host" in line and f"datasets.{name}.path" in line
    hosts = {
        "dsprites": "github.com/",
        "svhn": "ufldl.stanford.edu",
        "cifar10": "cs.toronto.edu",
        "chairs": "di.ens.fr/willow",
    }
    hosts |= {"celeba": "google.com/", "mnist": "mnist/train-images", "fashion-mnist": "fashion-mnist."}
    assert hosts[name] in asked[0] + line and len(asked) % fetch.TRIES == 0
