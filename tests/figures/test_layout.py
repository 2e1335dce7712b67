"""How every figure looks on the page: text that can be read, nothing over it, room for the data."""

import io
import itertools
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from synthetic import OPTIONS, make_tables

from vaepipe.figures import style
from vaepipe.figures.registry import FIGURES
from vaepipe.models.family import find_family

pytest_plugins = ["synthetic"]
pytestmark = pytest.mark.slow

PICTURES = [name for name, entry in FIGURES.items() if ".png" in entry.suffixes]
OF_TABLES = {"adversarial_loss", "relative_loss", "target_nll", "distortion", "success", "ball", "frontier"}
OF_TABLES |= {"disentanglement", "heatmap", "collapse", "part2", "sigma_density", "elbo"}
"""Figures that are laid out with several attacks of one data set."""
LOOKS = [*itertools.product(PICTURES, [("paper", "page"), ("paper", "column"), ("slides", "page")])]
LEAST_TEXT = {"paper": 5.4, "slides": 10}
"""Points, when printed at the width of the page."""


def laid_out(name, data, look, width):
    options = OPTIONS.model_copy(update={"resamples": 100, "style": look, "width": width})
    page = FIGURES[name].load()(data, options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a layout that finds no room
        style.lay_out(page)
        with matplotlib.rc_context(style.settings(look)):
            page.draw_without_rendering()
    return page


def shown_texts(page):
    """(text, its box in pixels) of all that is drawn, without tick labels outside their axis."""
    renderer = FigureCanvasAgg(page).get_renderer()
    hidden = set()
    for ax in page.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            margin = 1e-9 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low - margin <= tick.get_loc() <= high + margin:
                    hidden |= {tick.label1, tick.label2}
        if not ax.axison:
            hidden |= {*ax.get_xticklabels(), *ax.get_yticklabels()}
    for text in page.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in hidden:
            box = text.get_window_extent(renderer)
            if box.width > 0 and text.get_figure(root=True) is page:
                yield text, box


@pytest.fixture(scope="module")
def several():
    """The tables of several attacks."""
    return make_tables(("latent-kl", "output", "latent-w2"))


@pytest.fixture(scope="module", params=LOOKS, ids=str)
def page(request, data, several):
    name, (look, width) = request.param
    page = laid_out(name, several if name in OF_TABLES else data[name], look, width)
    with matplotlib.rc_context(style.settings(look)):  # the number of ticks follows the size of text
        page.name, page.texts_shown = name, list(shown_texts(page))
    return page


def test_width_is_that_of_the_page_and_text_can_be_read(page):
    assert page.get_figwidth() == getattr(style.LOOKS[page.style], page.columns)
    small = [(t.get_text(), t.get_fontsize()) for t, _ in page.texts_shown if t.get_gid() != "exponent"]
    assert not [item for item in small if item[1] < LEAST_TEXT[page.style]]


def test_no_text_leaves_the_page_or_covers_another(page):
    width, height = page.bbox.width, page.bbox.height
    outside = [
        text.get_text()
        for text, box in page.texts_shown
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]
    assert not outside
    covering = []
    for (a, one), (b, other) in itertools.combinations(page.texts_shown, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        up = min(one.y1, other.y1) - max(one.y0, other.y0)
        if across > 1 and up > 0.25 * min(one.height, other.height):
            covering.append((a.get_text(), b.get_text()))
    assert not covering


def test_most_of_the_page_is_data_and_one_line_is_text(page):
    grounds = [ax.get_position() for ax in page.axes if ax.get_gid() != "hole"]
    share = sum(ground.width * ground.height for ground in grounds)
    assert share > (0.31 if page.columns == "page" else 0.25), f"{share:.2f}"
    lines = [text for text, _ in page.texts_shown if text.get_gid() == "line"]
    assert len(lines) <= 1 and all("\n" not in line.get_text() for line in lines)
    assert max(len(text.get_text()) for text, _ in page.texts_shown if text not in lines) < 60


def test_the_caption_says_what_is_shown(page):
    caption = page.caption
    assert caption.title and caption.text and caption.said
    for text in (caption.markdown(), caption.plain()):
        assert "$" not in text and "{" not in text and "nan" not in text
        assert 200 < len(text) < 4000 and np.mean([len(line) for line in text.splitlines() if line]) > 20


@pytest.mark.parametrize("name", ["frontier", "disentanglement"])  # their markers hardly cover each other
@pytest.mark.parametrize("width", ["page", "column"])
def test_the_place_of_a_row_is_where_its_point_is_drawn(name, width, data):
    page = laid_out(name, make_tables(("latent-kl", "output")), "paper", width)
    style.save(page, picture := io.BytesIO(), ".png")
    picture.seek(0)
    pixels = matplotlib.image.imread(picture)[..., :3]
    rows, height = page.numbers(), len(pixels)
    assert len(rows) > 10
    for row in rows:
        x, y = round(row["left"] * pixels.shape[1]), round(row["top"] * height)
        near = pixels[y - 9 : y + 10, x - 9 : x + 10].reshape(-1, 3)  # within the marker's edge
        colour = matplotlib.colors.to_rgb(find_family(row["family"]).colour)
        assert np.abs(near - colour).max(1).min() < 0.25, row
