"""The pages: what the explorer packs and leaves out, and both pages in a real browser beside the tables."""

import contextlib
import json
import re
import shutil
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import HANGS, SMOKE, run_stage, snakemake
from hypothesis import given, settings
from hypothesis import strategies as st

from vaepipe import pages
from vaepipe.pages import explorer as packing
from vaepipe.pages import report as report_pages
from vaepipe.pages.explorer import Level, Source
from vaepipe.stages import explore, report
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, write_h5
from vaepipe.storage.tables import write_table
from vaepipe.study import jobs
from vaepipe.study.cells import Cell
from vaepipe.study.settings import Plot
from vaepipe.study.study import Study

# --- what is packed ---------------------------------------------------------------------------------

L, P, SHAPE = 6, 3, (3, 4, 5)
PLOTLY = pages.plotly


SOLVED = (
    "objective",
    "divergence",
    "norm",
    "initial_divergence",
    "converged",
    "x",
    "target",
    "lambdas",
    "pairs",
)
SOLVED += ("distortion",)


def write_attack(source, seed=0, lambdas=tuple(2.0**k for k in range(L)), pairs=P, shape=SHAPE):
    """The files of an attack and its measures, of random numbers; their arrays."""
    random = np.random.default_rng(seed)
    grid, images = (
        (len(lambdas), pairs),
        lambda *first: random.integers(0, 256, (*first, *shape), dtype=np.uint8),
    )
    arrays = {name: random.random(grid) * 100 for name in packing.BY_LAMBDA} | {
        "converged": random.random(grid) < 0.5
    }
    arrays |= {name: random.random(pairs) for name in packing.BY_PAIR} | {
        name: images(pairs) for name in packing.STILLS
    }
    arrays |= {"lambdas": np.array(lambdas), "pairs": random.integers(0, 999, (pairs, 2))}
    arrays |= {
        "distortion": random.normal(size=(*grid, *shape)).astype("float32") * 10 ** random.uniform(-4, 0)
    }
    arrays |= {"adversarial_reconstruction": images(*grid)}
    for path, kind, own in ((source.attack, "attack", True), (source.measure, "measure", False)):
        kept = {name: (array, "") for name, array in arrays.items() if (name in SOLVED) == own}
        write_h5(path, kind, kept, {"loss": "latent-kl"})
    return arrays


def unpacked(packed: bytes) -> np.ndarray:
    return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(-1, *SHAPE)


def test_the_packed_pictures_give_back_the_arrays(tmp_path):
    source = Source(
        Cell("digits", "vae", 1.0, 4, 0), "latent-kl", "", *map(str, (tmp_path / "a.h5", tmp_path / "m.h5"))
    )
    arrays = write_attack(source)
    rows = packing.shown(L, 2)
    packed = packing.pictures(explore.read(source, 2), rows)
    assert rows == [0, 2, 4, 5] and len(packed) == 2
    for p in range(2):
        got = unpacked(packed[p])
        assert len(got) == 4 + 2 * len(rows)
        for i, name in enumerate(packing.STILLS):
            np.testing.assert_array_equal(got[i], arrays[name][p])
        for i, row in enumerate(rows):
            d = arrays["distortion"][row, p]
            reach = np.abs(d).max()
            np.testing.assert_allclose((got[4 + i] / 1.0 - 128) / 127 * reach, d, atol=reach / 254 * 1.001)
            np.testing.assert_array_equal(
                got[4 + len(rows) + i], arrays["adversarial_reconstruction"][row, p]
            )


def test_no_distortion_and_numbers_that_are_not_finite_are_packed_as_nothing(tmp_path):
    arrays = {name: np.zeros((2, 1, 2, 2), "uint8") for name in packing.STILLS}
    arrays["adversarial_reconstruction"] = np.zeros((1, 2, 1, 2, 2), "uint8")
    arrays["distortion"] = np.zeros((1, 2, 1, 2, 2), "float32")
    arrays["distortion"][0, 1] = np.nan
    for packed in packing.pictures(arrays, [0]):
        assert zlib.decompress(packed)[16:20] == bytes([128] * 4)
    assert packing.digits(np.array([np.nan, np.inf, 123456789.0])) == [None, None, 123457000.0]


# --- what is left out -------------------------------------------------------------------------------


def many(seeds, betas=(1, 2, 4), d_z=(4, 8)):
    cells = [
        Cell("digits", "beta-vae" if b > 1 else "vae", float(b), z, s)
        for b in betas
        for z in d_z
        for s in range(seeds)
    ]
    return [Source(cell, "latent-kl") for cell in cells]


@given(st.integers(1, 3), st.integers(1, 200), st.integers(1, 50))
def test_each_level_holds_fewer_pictures_than_the_one_before(seeds, lambdas, pairs):
    everything = many(seeds)
    found = list(packing.levels(everything, lambdas, pairs, 4, 8))
    assert found[0] == Level(tuple(everything), pairs, 1)
    sizes = [len(level.sources) * level.pairs * len(packing.shown(lambdas, level.step)) for level in found]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes[:-2])) == len(sizes[:-2])
    last = found[-1]
    assert last.pairs == 1 and len(packing.shown(lambdas, last.step)) <= 2 * packing.FEWEST_LAMBDAS
    assert {source.cell for source in last.sources} == {
        Cell("digits", "vae", 1, 8, 0),
        Cell("digits", "beta-vae", 4, 8, 0),
    }
    for level in found:
        rows = packing.shown(lambdas, level.step)
        assert rows[0] == 0 and rows[-1] == lambdas - 1 and rows == sorted(set(rows))


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Two seeds, two β, two d_z of attacks that cannot be compressed, 8 pairs and 9 λ; a page whose library
    weighs nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "plotly", lambda: pages.Markup(""))
    lambdas = [2.0**k for k in range(9)]
    sources = explore.sources(
        listed({"families": ["beta-vae"], "betas": [1, 4], "d_z": [2, 8], "seeds": [0, 1]})
    )
    for i, source in enumerate(sources):
        write_attack(source, i, lambdas, pairs=8, shape=(1, 16, 16))
    return sources


def listed(grid, **more):
    """The jobs of a study of digits, attacked by latent-kl."""
    return jobs.jobs(Study({"study": ["digits"], "grid": grid, "attack": {"losses": ["latent-kl"]}, **more}))


PLOT = Plot(beta=4, d_z=8)


def with_reasons(sources, masked):
    return [replace(source, masked=masked.get((source.cell.name, source.loss), "")) for source in sources]


def held(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_a_study_too_large_for_the_page_is_thinned_and_the_page_says_how(large):
    whole = explore.explore(large, 2**30, PLOT)
    assert len(held(whole)["entries"]) == 8 and held(whole)["rule"] == ""
    data = len(str(pages.inert(held(whole))).encode())
    frame = len(whole.encode()) - data
    for part, models, said in (
        (0.9, 8, "To keep the page small it holds pictures of 5 of 9 λ."),
        (0.4, 8, "To keep the page small it holds the first 4 of 8 pairs, pictures of 5 of 9 λ."),
        (0.1, 8, "To keep the page small it holds the first 1 of 8 pairs, pictures of 5 of 9 λ."),
        (
            0.07,
            4,
            "To keep the page small it holds the first 1 of 8 pairs, "
            "pictures of 5 of 9 λ, 4 of 8 attacked models.",
        ),
        (
            0.03,
            2,
            "To keep the page small it holds the first 1 of 8 pairs, "
            "pictures of 5 of 9 λ, 2 of 8 attacked models.",
        ),
    ):
        page = explore.explore(large, frame + int(part * data), PLOT)
        assert len(page.encode()) <= frame + part * data
        assert (len(held(page)["entries"]), held(page)["rule"]) == (models, said)
        for entry in held(page)["entries"]:  # the curve keeps every λ
            assert len(entry["lambdas"]) == len(entry["norm"]) == 9


def test_a_model_trained_elsewhere_is_shown_under_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pages, "plotly", lambda: pages.Markup(""))
    cell = Cell("digits", "theirs", 0.0, 4, 0)
    source = Source(
        cell,
        "latent-kl",
        "",
        jobs.output("attack", cell, "latent-kl"),
        jobs.output("measure", cell, "latent-kl"),
    )
    write_attack(source)
    data = held(explore.explore([source], 2**30, PLOT))
    assert [entry["name"] for entry in data["entries"]] == ["theirs"] and data["start"]["family"] == "theirs"


def test_the_page_says_of_each_attack_why_it_is_too_weak(large, tmp_path):
    flagged, *_ = large
    rows = [vars(source.cell) | {"loss": source.loss, "masked": ""} for source in large]
    rows[0]["masked"] = why = (
        'random restarts do better for 25 % of pairs; </script><img src=x onerror="window.bad=1">'
    )
    write_table(tmp_path / "robustness.csv", pd.DataFrame(rows))
    masked = explore.reasons(tmp_path / "robustness.csv")
    assert masked == {(flagged.cell.name, "latent-kl"): why}
    page = explore.explore(with_reasons(large, masked), 2**30, PLOT)
    assert [entry["masked"] for entry in held(page)["entries"]] == [why] + 7 * [""]
    assert why not in page and "img" not in Elements(page).names
    assert all(entry["masked"] == "" for entry in held(explore.explore(large, 2**30, PLOT))["entries"])


def test_the_reason_stands_below_the_choice_of_a_flagged_model_only(browser, large, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "plotly", PLOTLY)
    flagged, other = large[:2]
    why = '<img src=x onerror="window.bad=1"> do better'
    page = tmp_path / "explorer.html"
    page.write_text(
        explore.explore(with_reasons(large, {(flagged.cell.name, "latent-kl"): why}), 2**30, PLOT),
        encoding="utf-8",
    )
    for source, said in (
        (flagged, f"† Attack too weak by its checks, do not call this model robust: {why}."),
        (other, ""),
    ):
        cell = source.cell
        browser.open(page, f"#family={cell.family}&beta={cell.beta:g}&d_z={cell.d_z}&seed={cell.seed}")
        browser.wait("document.body.dataset.shown !== undefined")
        shown = browser.wait(
            f"location.hash.includes('seed={cell.seed}') && [document.getElementById('masked').innerText]"
        )
        assert shown == [said]
    assert browser.run("return [document.images.length, window.bad === undefined]") == [0, True]
    browser.wait("document.body.dataset.opened")
    assert browser.errors() == []


def test_a_page_that_cannot_be_small_enough_and_a_study_without_attacks_are_errors_in_one_line(large):
    with pytest.raises(DataError, match="do not hold one pair"):
        explore.explore(large, 20_000, PLOT)
    with pytest.raises(DataError, match="nothing to explore"):
        explore.explore([], 2**30, PLOT)


# --- what is written is text ------------------------------------------------------------------------


class Elements(HTMLParser):
    """Names of the elements of a page, its text, and its tables as lists of rows of texts."""

    def __init__(self, page):
        super().__init__()
        self.names, self.text, self.tables = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.names[-1:] in (["th"], ["td"]):
            self.tables[-1][-1][-1] += data.strip()


HOSTILE = st.text(st.sampled_from("<>&\"'/!-{}% \u2028ab")) | st.sampled_from(
    ["</script><script>", "<!--<script>", "{{ 7*7 }}"]
)


@given(HOSTILE)
def test_json_in_a_script_ends_nothing_and_reads_back(text):
    page = f'<script type="application/json" id="data">{pages.inert({"a": [text]})}</script><p>end'
    assert Elements(page).names == ["script", "p"] and "<!--" not in page
    assert held(page) == {"a": [text]}


@given(HOSTILE)
@settings(max_examples=30)
def test_everything_that_a_page_shows_is_escaped(text):
    plain = report_pages.configuration({"study": ["digits"], "path": "x"})
    page = report_pages.configuration({"study": ["digits"], "path": text})
    assert Elements(page).names == Elements(plain).names
    part = {"columns": [text], "rows": [[text, 1.5]], "title": text}
    rendered = Elements(pages.render("page.html", title=text, intro=text, parts=[part]))
    assert (
        rendered.names.count("td") == 2
        and rendered.names.count("script") == 1  # its own, which sorts
        and rendered.text.count(text) >= 5
    )


def test_times_leave_out_the_jobs_without_a_benchmark_and_say_how_many(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    all_jobs = listed({"families": ["vae"], "betas": [1], "d_z": [2, 3], "seeds": [0]})
    timed = jobs.of_stage(all_jobs, "train", "evaluate", "attack")
    for seconds, job in enumerate(timed):
        if (job.stage, job.cell.d_z) != ("attack", 3):
            benchmark = Path(job.benchmark)
            benchmark.parent.mkdir(parents=True, exist_ok=True)
            memory = 12 if seconds == 4 else 100 + seconds  # one was done by the job server
            measured = {"s": seconds + 0.25, "cpu_time": 2 * seconds, "max_rss": memory}
            benchmark.write_text(json.dumps(measured) + "\n")
    page = report.times(timed)
    table, slowest = Elements(page).tables
    assert "1 jobs have no benchmark file" in page
    # the jobs in order: train 0.25 s, evaluate 1.25, attack 2.25, train 3.25, evaluate 4.25, (attack)
    assert table[1:] == [
        ["digits", "train", "2", "3.5", "1.8", "3.2", "6.0", "103"],
        ["digits", "evaluate", "2", "5.5", "2.8", "4.2", "2.0", "101"],
        ["digits", "attack", "1", "2.2", "2.2", "2.2", "4.0", "102"],
    ]
    assert [row[0] for row in slowest[1:]] == ["evaluate", "train", "attack", "evaluate", "train"]


# --- in a browser -----------------------------------------------------------------------------------

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
FLAGS += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,860"]


class Browser:
    """Chromium, driven from outside; keeps what the page logged and which addresses it asked for."""

    def __init__(self, driver):
        self.driver = driver
        self.asked: list[str] = []

    def open(self, path, anchor=""):
        self.driver.get(path.resolve().as_uri() + anchor)

    def wait(self, script: str):
        """The value of a script as soon as it is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, HANGS, 0.05).until(
            lambda driver: driver.execute_script(f"return {script}")
        )

    def run(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str):
        return self.driver.find_element("css selector", selector)

    def click_text(self, text: str):
        """Click the link with this text."""
        self.wait(f"[...document.querySelectorAll('a')].some(a => a.innerText.trim() === {json.dumps(text)})")
        self.run(
            "[...document.querySelectorAll('a')].find(a => a.innerText.trim() === arguments[0]).click()", text
        )

    def errors(self) -> list[str]:
        """What the console has that is worse than a warning, and every address outside the page."""
        for row in self.driver.get_log("performance"):
            message = json.loads(row["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])
        outside = [
            url for url in self.asked if not url.startswith(("file:", "data:", "blob:", "chrome:", "about:"))
        ]
        return [
            row["message"] for row in self.driver.get_log("browser") if row["level"] == "SEVERE"
        ] + outside


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Debian's chromium and chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    driver.set_page_load_timeout(HANGS)
    driver.set_script_timeout(HANGS)
    yield Browser(driver)
    with contextlib.suppress(Exception):
        driver.quit()


@pytest.fixture(scope="module")
def tables(finished):
    """The smoke study's folder and table of attacks."""
    return SimpleNamespace(
        folder=finished, attacks=pd.read_parquet(finished / "results/tables/attacks.parquet")
    )


@pytest.fixture
def explorer(browser, tables):
    browser.open(tables.folder / "results/explorer.html")
    browser.wait("document.body.dataset.opened")
    return browser


SIZES = ((1400, 900), (1366, 768), (390, 844))


def set_size(browser, width, height):
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


KEYS = ("dataset", "family", "beta", "d_z", "seed", "loss")
NUMBERS = (
    "norm",
    "divergence",
    "objective",
    "initial_divergence",
    "adversarial_distance",
    "original_distance",
)
NUMBERS += ("target_distance", "input_distance", "target_nll")


def address(browser) -> dict:
    return browser.run("return Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def row_shown(browser, tables) -> pd.Series:
    """The row of the table that the page's address names; its sliders say the same."""
    now = address(browser)
    rows = tables.attacks
    for key in ("dataset", "family", "loss"):
        rows = rows[rows[key] == now[key]]
    for key in ("beta", "d_z", "seed", "pair"):
        rows = rows[rows[key] == float(now[key])]
    assert now["lam"].startswith("2^")
    row = rows.iloc[(np.log2(rows["lam"]) - float(now["lam"][2:])).abs().argmin()]
    pair, lambda_ = browser.run(
        "return ['pair', 'lam'].map(id => document.getElementById(id + '-text').textContent)"
    )
    assert float(lambda_.split("= ")[1]) == pytest.approx(row["lam"], rel=1e-4) and pair.split()[0] == str(
        int(now["pair"]) + 1
    )
    return row


def check_numbers(browser, tables) -> pd.Series:
    row = row_shown(browser, tables)
    names = [*NUMBERS, "converged"]
    texts = browser.run(
        "return arguments[0].map(name => document.getElementById('number-' + name).textContent)", names
    )
    *numbers, converged = texts
    np.testing.assert_allclose(
        [float(text) for text in numbers], row[list(NUMBERS)].astype(float), rtol=1e-4, atol=1e-6
    )
    assert (converged == "converged") == row["converged"]
    return row


def colours(browser, name: str) -> np.ndarray:
    """(H, W, 3) bytes of a picture."""
    script = """const c = document.getElementById(arguments[0] + "-picture");
    return [c.height, c.width, [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]];"""
    H, W, flat = browser.run(script, name)
    rgba = np.array(flat, "uint8").reshape(H, W, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def pixels(browser, name: str) -> np.ndarray:
    """(H, W) grey values of a picture."""
    rgb = colours(browser, name)
    assert (rgb[..., :1] == rgb).all()
    return rgb[..., 0]


def test_the_explorer_opens_offline_at_the_models_of_the_montage(explorer, tables, capsys):
    opened, size = (
        explorer.run("return document.body.dataset.opened"),
        (tables.folder / "results/explorer.html").stat().st_size,
    )
    with capsys.disabled():
        print(f"\nexplorer: {size / 2**20:.1f} MB, opened in {opened} ms")
    assert explorer.errors() == [] and size < 30 * 2**20
    now = address(explorer)
    assert (now["family"], now["beta"], now["d_z"], now["pair"]) == ("beta-tcvae", "4", "4", "0")
    check_numbers(explorer, tables)


def test_every_attack_can_be_reached_by_keyboard_and_has_the_tables_numbers(explorer, tables):
    from selenium.webdriver.common.keys import Keys

    seen = set()
    for family in ("V", "β-V", "β-T"):
        explorer.find("#family").send_keys(family)
        explorer.find("#pair").send_keys(Keys.HOME)
        for pair in range(4):
            explorer.find("#lam").send_keys(Keys.HOME)
            for _ in range(3):
                row = check_numbers(explorer, tables)
                seen.add((row["family"], row["pair"], row["lam"]))
                explorer.find("#lam").send_keys(Keys.ARROW_RIGHT)
            explorer.find("#pair").send_keys(Keys.ARROW_RIGHT)
            assert int(address(explorer)["pair"]) == min(pair + 1, 3)
    assert len(seen) == 3 * 4 * 3 == len(tables.attacks)
    assert explorer.errors() == []


def test_tab_leads_through_the_controls_in_order(explorer):
    from selenium.webdriver.common.keys import Keys

    explorer.run("document.getElementById('dataset').focus()")
    order = []
    for _ in range(14):
        order.append(explorer.run("return document.activeElement.id"))
        explorer.driver.switch_to.active_element.send_keys(Keys.TAB)
    assert order == [*KEYS, "pair", "least", "median", "most", "lam", "montage", "log", "copy"]
    for name in [*KEYS, "pair", "lam", "log"]:  # each has a label
        assert explorer.run("return document.getElementById(arguments[0]).labels.length", name) == 1


def test_the_pictures_are_those_of_the_attack_files(explorer, tables):
    from selenium.webdriver.common.keys import Keys

    explorer.find("#lam").send_keys(Keys.HOME)
    for _ in range(3):
        row = row_shown(explorer, tables)
        at = sorted(tables.attacks["lam"].unique()).index(row["lam"])
        explorer.wait(f"document.body.dataset.shown === '{at}'")
        cell = Cell(*(row[key] for key in ("dataset", "family", "beta", "d_z", "seed")))
        p = int(row["pair"])
        paths = [tables.folder / jobs.output(stage, cell, row["loss"]) for stage in ("attack", "measure")]
        with open_h5(paths[0], "attack") as file, open_h5(paths[1], "measure") as measured:
            for name in (*packing.STILLS, "adversarial_reconstruction"):
                array = (file if name in file else measured)[name]
                stored = array[at, p] if array.ndim == 5 else array[p]
                np.testing.assert_array_equal(pixels(explorer, name), stored[0], name)
            d = file["distortion"][at, p, 0]
            reach = np.abs(d).max()
            adversarial = np.clip(file["x"][p, 0] / 255 + d, 0, 1) * 255
            np.testing.assert_allclose(
                pixels(explorer, "adversarial"), adversarial, atol=0.51 + 255 * reach / 254
            )
            ends = np.where(d[..., None] > 0, (178, 24, 43), (33, 102, 172))  # red, blue
            expected = 255 + (ends - 255) * np.abs(d[..., None]) / (reach or 1)
            np.testing.assert_allclose(colours(explorer, "d"), expected, atol=1.5)
        explorer.find("#lam").send_keys(Keys.ARROW_RIGHT)


def test_the_curve_has_all_lambdas_and_marks_the_chosen_one(explorer, tables):
    from selenium.webdriver.common.keys import Keys

    explorer.find("#lam").send_keys(Keys.END)
    row = row_shown(explorer, tables)
    same = tables.attacks[
        (tables.attacks[["family", "beta", "pair"]] == row[["family", "beta", "pair"]]).all(axis=1)
    ]
    traces = explorer.run(
        "return document.getElementById('curve').data.map(t => ({name: t.name, x: [...t.x], y: [...t.y]}))"
    )
    [curve] = [trace for trace in traces if trace["name"].removesuffix(" †") == "β-TCVAE, β = 4"]
    same = same.sort_values("norm")
    np.testing.assert_allclose(curve["x"], same["norm"], rtol=1e-5)
    np.testing.assert_allclose(curve["y"], same["divergence"], rtol=1e-5)
    [marked] = [trace for trace in traces if trace["name"].startswith("λ = ")]
    np.testing.assert_allclose([*marked["x"], *marked["y"]], [row["norm"], row["divergence"]], rtol=1e-5)
    names = {trace["name"].removesuffix(" †") for trace in traces}  # such short attacks are flagged
    assert {"VAE, β = 1", "β-VAE, β = 4"} < names
    drawn = explorer.run("""
    const plot = document.getElementById('curve'), box = plot.getBoundingClientRect(), l = plot._fullLayout;
    const centre = (side, a, b) => side[a] + side[b] / 2;
    return [...plot.querySelectorAll('.points path')].map(p => p.getBoundingClientRect()).map(p => [
      l.xaxis.p2l(centre(p, 'left', 'width') - box.left - l.xaxis._offset),
      l.yaxis.p2l(centre(p, 'top', 'height') - box.top - l.yaxis._offset)])""")
    expected = np.stack([curve["x"], curve["y"]], 1)
    span = np.ptp(expected, axis=0) + 1e-9
    for point in expected:  # each has a marker where its numbers say
        assert (np.abs((np.array(drawn) - point) / span).max(1) < 0.02).any()


def test_a_click_on_the_curve_and_the_address_choose_an_attack(explorer, tables):
    from selenium.webdriver.common.action_chains import ActionChains

    explorer.find("#lam").send_keys("\ue011")  # Home
    place = """
    const plot = document.getElementById('curve'), l = plot._fullLayout;
    plot.scrollIntoView({block: 'center'});
    const box = plot.getBoundingClientRect();
    const trace = plot.data.find(t => t.name === 'β-TCVAE, β = 4');
    const i = trace.customdata.findIndex(c => c[0] === 2);
    const left = box.left + l.xaxis._offset, top = box.top + l.yaxis._offset;
    return [left + l.xaxis.l2p(trace.x[i]), top + l.yaxis.l2p(trace.y[i])];"""
    x, y = explorer.run(place)
    actions = ActionChains(explorer.driver)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.w3c_actions.pointer_action.pause(0.1)
    actions.w3c_actions.pointer_action.click()
    actions.perform()
    explorer.wait("document.getElementById('lam').value === '2'")
    check_numbers(explorer, tables)
    for wanted, expected in (
        ("family=beta-vae&beta=4&pair=2&lam=1", ("beta-vae", "4", "2", "2^0")),
        ("family=beta-vae&beta=4&pair=1&lam=2^6.644", ("beta-vae", "4", "1", "2^6.644")),
        ("family=beta-vae&beta=4&pair=1&lam=2^7", ("beta-vae", "4", "1", "2^6.644")),
        ("family=nobody&beta=3&pair=99&lam=0.01", ("vae", "1", "3", "2^-6.644")),
    ):
        explorer.run("location.hash = arguments[0]", wanted)
        explorer.wait(f"new URLSearchParams(location.hash.slice(1)).get('family') === '{expected[0]}'")
        now = address(explorer)
        explorer.wait(f"location.hash.endsWith('lam={expected[-1]}')")
        now = address(explorer)
        assert tuple(now[key] for key in ("family", "beta", "pair", "lam")) == expected
        said = explorer.find("#wrong").text
        if "nobody" in wanted:
            assert "family = nobody, beta = 3, pair = 99," in said and "Shown is the nearest" in said
        else:
            assert bool(said) == wanted.endswith("2^7")
        check_numbers(explorer, tables)
    assert explorer.errors() == []


def test_the_lines_of_python_load_the_row_and_the_distortion_that_are_shown(explorer, tables, monkeypatch):
    monkeypatch.chdir(tables.folder)
    explorer.run("location.hash = 'family=beta-vae&beta=4&pair=2&lam=1'")
    explorer.wait("location.hash.includes('pair=2&lam=2^0')")
    shown = row_shown(explorer, tables)
    code = explorer.find("#code").text
    assert len(code.splitlines()) == 3
    names: dict = {}
    exec(code, names)
    pd.testing.assert_series_equal(names["row"], shown, check_names=False)
    assert np.linalg.norm(names["d"]) == pytest.approx(shown["norm"], rel=1e-4)
    explorer.find("#copy").click()
    explorer.wait("document.getElementById('copied').textContent")


def test_the_jumps_go_to_pairs_in_the_order_of_the_distortion_that_fools_them(explorer, tables):
    rows = tables.attacks
    first = address(explorer)
    rows = rows[(rows["family"] == first["family"]) & (rows["beta"] == float(first["beta"]))]
    ratio = (rows["adversarial_distance"] - rows["target_distance"]) / (
        rows["original_distance"] - rows["target_distance"]
    )
    fooling = rows["norm"].where(ratio < 0.5, np.inf).groupby(rows["pair"]).min()
    for name, size in (("least", fooling.min()), ("most", fooling.max())):
        explorer.find(f"#{name}").click()
        pair = int(address(explorer)["pair"])
        assert fooling[pair] == size
        text = explorer.find("#fooled").text
        assert ("No λ" in text) == np.isinf(size) and (np.isinf(size) or f"{size:.3g}" in text)


def test_the_pictures_fill_the_window_and_nothing_is_wider_than_it(explorer):
    for size in SIZES:
        set_size(explorer, *size)
        # each as soon as the page is laid out and the curve is drawn anew
        width = "document.getElementById('x-picture').getBoundingClientRect().width"
        explorer.wait(f"{width} > {min(0.4 * size[0], 0.19 * size[1])}")
        explorer.wait(f"document.documentElement.scrollWidth <= {size[0]}")
        explorer.wait("[...document.querySelectorAll('select')].every(s => s.scrollWidth <= s.clientWidth)")
        plot = "document.getElementById('curve')"
        legend = f"{plot}.querySelector('.legend').getBoundingClientRect().bottom"
        ground = f"{plot}.getBoundingClientRect().top + {plot}._fullLayout.yaxis._offset"
        explorer.wait(f"{legend} <= {ground} + 1")
    set_size(explorer, 1280, 860)


def test_in_the_dark_the_page_and_its_curve_are_light_on_dark(browser, tables):
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    browser.open(tables.folder / "results/explorer.html")
    browser.wait("document.body.dataset.opened")
    ink, paper, curve = browser.run(
        "return [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor,"
        " document.querySelector('#curve .xtitle').style.fill]"
    )
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in (ink, paper, curve)]
    assert brightness[0] > 200 and brightness[1] < 50 and brightness[2] > 200


def test_hostile_names_are_shown_as_text(browser, tables, tmp_path):
    text = '</script><img src=x onerror="window.bad=1"><b>'
    page = (tables.folder / "results/explorer.html").read_text(encoding="utf-8")
    data = held(page)
    for entry in data["entries"]:
        entry["loss"] = entry["name"] = entry["title"] = text
    changed = tmp_path / "hostile.html"
    before, after = page.split(str(pages.inert(held(page))))
    changed.write_text(before + str(pages.inert(data)) + after, encoding="utf-8")
    browser.open(changed)
    browser.wait("document.body.dataset.opened")
    assert browser.find("#loss").text.strip() == text
    assert browser.run("return [document.images.length, window.bad === undefined]") == [0, True]
    assert [line for line in browser.errors() if "Content Security" not in line] == []


@pytest.fixture(scope="module")
def made_report(tables, tmp_path_factory):
    page = tmp_path_factory.mktemp("report") / "report.html"
    style = ("--report-stylesheet", "vaepipe/pages/report.css")  # Snakemake would expand $HOME in the folder
    done = snakemake(tables.folder, "--configfile", SMOKE, "--report", page, *style)
    assert done.returncode == 0, done.stderr[-3000:]
    return page


def figure_names(folder):
    figures = folder / "results/figures"
    return {path.relative_to(figures).with_suffix("").as_posix() for path in figures.rglob("*.png")}


def test_the_report_has_every_figure_and_asks_nothing_of_the_network(browser, made_report, tables):
    browser.open(made_report)
    browser.wait("typeof results === 'object' && document.querySelector('#app a')")
    shown = browser.run("return Object.keys(results)")
    names = figure_names(tables.folder)
    assert {f"results/report/figures/{name}.html" for name in names} <= set(shown)
    listed = browser.run("return Object.values(categories).flatMap(c => Object.values(c)).flat()")
    assert sorted(listed) == sorted(shown)
    folders = browser.run("return Object.keys(categories).sort()")
    assert folders == ["Claims", "Figures", "Figures of digits", "Figures of swissroll", "Study"]
    times = browser.run("return runtimes_spec.data.values.map(job => job.runtime)")
    assert min(times) > 0  # the plot's axis is logarithmic
    assert browser.errors() == []


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_figure_page_shows_its_whole_picture_from_the_top_and_its_numbers(browser, tables, size):
    set_size(browser, *size)
    for name in sorted(figure_names(tables.folder)):
        browser.open(tables.folder / f"results/report/figures/{name}.html")
        box, natural, overflow = browser.wait(
            "document.images[0].complete && [document.images[0].getBoundingClientRect().toJSON(),"
            " document.images[0].naturalWidth, document.documentElement.scrollWidth]"
        )
        assert natural > 300 and box["top"] >= 0 and box["left"] >= 0, (name, box)
        assert box["right"] <= size[0] and overflow <= size[0], (name, box)
    page = tables.folder / f"results/report/figures/{name}.html"
    shown = Elements(page.read_text(encoding="utf-8")).tables[0]
    numbers = pd.read_csv(tables.folder / f"results/figures/{name}.csv")
    numbers = numbers.drop(columns=["left", "top"], errors="ignore")  # places in the picture
    assert shown[0][: len(numbers.columns)] == list(numbers.columns) and len(shown) == 1 + min(
        500, len(numbers)
    )
    for column in numbers.select_dtypes("number"):
        values = [row[shown[0].index(column)].replace("–", "nan") for row in shown[1:]]
        np.testing.assert_allclose(
            [float(value) for value in values], numbers[column][:500], rtol=1e-5, err_msg=column
        )
    set_size(browser, 1280, 860)
    assert browser.errors() == []


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_report_opens_with_the_answer_which_can_be_scrolled_to(browser, made_report, tables, size):
    set_size(browser, *size)
    browser.open(made_report)
    browser.wait("document.querySelector('#app table.verdicts')")
    box = browser.run("return document.querySelector('#app h1').getBoundingClientRect().toJSON()")
    assert box["top"] >= 0 and box["left"] >= 0 and box["right"] <= size[0]
    headline = (tables.folder / "results/headline.txt").read_text(encoding="utf-8")
    first = browser.find("#app .answer").text
    assert first.split() == headline.strip().split("\n\n")[0].split()
    check_verdicts(browser, "#app", tables)
    browser.click_text("Figures")
    browser.wait("document.querySelector('tbody tr a')").click()
    frame = browser.wait("document.querySelector('iframe')?.getBoundingClientRect().toJSON()")
    assert (
        frame["top"] >= 0
        and frame["left"] >= 0
        and frame["right"] <= size[0]
        and frame["width"] > 0.7 * size[0]
    )
    set_size(browser, 1280, 860)


def check_verdicts(browser, place, tables):
    """The verdicts of a page are those of the table: judged ones as rows, the others as a list."""
    claims = pd.read_csv(tables.folder / "results/tables/claims.csv")
    judged = claims["verdict"].isin(["holds", "does not hold", "undecided at this n"])
    rows = browser.run(
        "return [...document.querySelectorAll(arguments[0] + ' table.verdicts tbody tr')]"
        ".map(r => [r.cells[0].innerText.slice(2), r.querySelector('b').innerText])",
        place,
    )
    assert [tuple(row) for row in rows] == list(
        claims[judged][["claim", "verdict"]].itertuples(index=False, name=None)
    )
    items = browser.run("return document.querySelectorAll(arguments[0] + ' details li').length", place)
    assert items == (~judged).sum() > 0


def test_the_first_page_has_the_answer_every_figure_and_what_a_figure_lacks(browser, tables):
    browser.open(tables.folder / "results/report/index.html")
    check_verdicts(browser, "body", tables)
    shown = browser.wait("[...document.images].map(i => decodeURIComponent(new URL(i.src).pathname))")
    figures = (tables.folder / "results/figures").resolve()
    assert {path.removeprefix(f"{figures}/").removesuffix(".png") for path in shown} == figure_names(
        tables.folder
    )
    assert shown[0].endswith("/distortion.png")
    download = browser.run("return document.querySelector('a[download]').getAttribute('href')")
    held = pd.read_csv(tables.folder / "results/report" / download)
    assert len(held) == browser.run("return document.querySelectorAll('#models ~ .wide tbody tr').length")
    assert {"elbo", "elbo_low", "auddc_high", "success", "weak"} <= set(held)
    links = browser.run(
        "return [...document.querySelectorAll('li a')].map(a => decodeURIComponent(new URL(a.href).pathname))"
    )
    assert all(Path(path).is_file() for path in links) and len(links) >= 4
    assert browser.errors() == []


@pytest.mark.parametrize(
    "row, address",
    [
        ({"family": "beta-vae", "beta": 4.0, "d_z": 2}, "family=beta-vae&beta=4&d_z=2&loss=output"),
        ({"family": "beta-vae", "beta": 1.0}, "family=vae&beta=1&loss=output"),  # one model at β = 1
        (
            {"family": "ae", "beta": 0.0, "pair": 3, "lam": 2.0**-20},
            "family=ae&beta=0&loss=output&pair=3&lam=2%5E-20",
        ),
        ({"family": "beta-vae", "beta": 4.0, "snapshot": 100}, ""),
        ({"family": None, "beta": 4.0}, ""),
    ],
)  # fmt: skip
def test_a_row_of_numbers_leads_to_the_attack_behind_it(row, address):
    row = pd.Series({"dataset": "digits", "loss": "output", **row}, dtype=object)
    found = report_pages.explorer_address(row, "explorer.html")
    assert found == (f"explorer.html#dataset=digits&{address}" if address else "")


def test_a_link_of_a_figures_numbers_opens_the_explorer_at_an_attack_that_it_has(browser, tables):
    browser.open(tables.folder / "results/report/figures/heatmap.html")
    links = browser.run("return [...document.querySelectorAll('tbody a')].map(a => a.href)")
    cells = browser.run("return [...document.querySelectorAll('.to-attack')].map(a => a.href)")
    assert cells == links  # a cell of the picture for each row
    for link in links:
        asked = dict(part.split("=") for part in link.partition("#")[2].split("&"))
        assert "lam" not in asked  # the page adds it when it has found the attack
        browser.driver.get(link)  # the first opens the page, and the others go on in it
        browser.wait("document.body.dataset.opened && location.hash.includes('&lam=')")
        assert asked.items() <= address(browser).items() and browser.find("#wrong").text == ""


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_click_on_a_point_of_a_picture_opens_its_attack(browser, tables, size):
    set_size(browser, *size)
    browser.open(tables.folder / "results/report/index.html")
    numbers = pd.read_csv(tables.folder / "results/figures/adversarial_loss.csv").dropna(subset="left")
    image = browser.find("img[alt='Adversarial loss']")
    browser.run("for (const i of document.images) i.loading = 'eager'")
    browser.wait("[...document.images].every(i => i.complete)")
    for row in numbers.itertuples():
        x, y, link = browser.run(
            "arguments[0].scrollIntoView({block: 'center'});"
            "const box = arguments[0].getBoundingClientRect();"
            "const [x, y] = [box.left + arguments[1] * box.width, box.top + arguments[2] * box.height];"
            "return [x, y, document.elementFromPoint(x, y).href]",
            *(image, row.left, row.top),
        )
        assert f"beta={row.beta:g}&" in link and link.endswith(f"loss={row.loss}")
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    mouse = ActionBuilder(browser.driver)
    mouse.pointer_action.move_to_location(int(x), int(y)).click()
    mouse.perform()
    browser.wait("document.body.dataset.opened")
    assert address(browser)["beta"] == f"{row.beta:g}" and browser.find("#wrong").text == ""
    set_size(browser, 1280, 860)


def test_a_click_on_a_column_sorts_its_table_both_ways(browser, tables):
    browser.open(tables.folder / "results/report/figures/elbo.html")
    numbers = pd.read_csv(tables.folder / "results/figures/elbo.csv")
    column = numbers.columns.get_loc("beta")
    for order in (sorted, lambda values: sorted(values, reverse=True)):
        browser.find(f"th:nth-child({column + 1}) button").click()
        texts = browser.run(
            "return [...document.querySelectorAll('tbody tr')].map(r => r.cells[arguments[0]].innerText)",
            column,
        )
        assert [float(text) for text in texts] == order(numbers["beta"])


@pytest.mark.slow
def test_a_damaged_configuration_is_one_line_that_names_it(tmp_path):
    (tmp_path / "config.json").write_text('{"a": 1')
    words = ["--config", tmp_path / "config.json", "--claims", tmp_path / "c.csv", "--out", tmp_path / "out"]
    words += ["--headline", tmp_path / "h.txt", "--models", "m.csv", "--robustness", "r.csv"]
    done = run_stage("report", *words)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert (
        done.stderr
        == f"error: {tmp_path}/config.json: not readable as JSON; delete it to have it made again\n"
    )
