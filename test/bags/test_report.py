"""The report as text, and as a browser shows it on a phone and on a desk."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.evaluation import charts
from depthnet_ros.evaluation.report import write_report
from depthnet_ros.evaluation.report_style import CSS
from depthnet_ros.evaluation.session import STATES
from depthnet_ros.metric_scale import MetricScaleConfig
from test.bags.bag_scene import BRIGHT_M, brightness_estimator, write_scene
from test.bags.browser import Browser

PHONE, DESK = (390, 844), (1280, 900)
_VOID = {"meta", "img", "br", "rect", "line", "circle", "path"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 45 frames, four and a half seconds, with metres that are 20 % off."""
    folder = tmp_path_factory.mktemp("report")
    with BagWriter(folder / "scene.mcap") as writer:
        write_scene(writer, 45)
    scale = MetricScaleConfig(mode="fixed", fixed_scale=0.8 / BRIGHT_M)
    with BagReader(folder / "scene.mcap") as bag:
        topics = resolve_topics(bag, "/image", "/depth")
        options = EvaluateOptions(PipelineOptions(scale=scale), pictures=3)
        results, album = evaluate_bag(bag, topics, brightness_estimator(), options)
    write_report(results, album, folder / "report.html")
    return folder / "report.html"


class Page(HTMLParser):
    """Collects ids, links, pictures and tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if tag not in _VOID:
            self._open.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        self.links += [values["href"]] if values.get("href") else []
        self.images += [values["src"]] if values.get("src") else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag


def test_one_file_with_all_in_it(report: Path) -> None:
    text = report.read_text()
    page = Page(text)
    assert not {"script", "link", "iframe"} & page.tags
    assert not re.search(r"(?:src|href)=\"(?!#|data:)|url\(|@import|https?://", text)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert len(page.images) == 2 * 3 * 4
    for image in page.images:
        data = base64.b64decode(image.removeprefix("data:image/jpeg;base64,"), validate=True)
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3)
    assert len(text) < 2_000_000


def test_figures_are_those_of_the_evaluation(report: Path) -> None:
    text = report.read_text()
    assert "+25.0 %" in text or "+24.9 %" in text  # 1 / 0.8: bias of metres
    assert "100.0 %" in text
    assert "45 of 45 images compared" in text


def test_every_state_has_a_colour_of_its_own_and_grey_is_explained(report: Path) -> None:
    colours = [re.findall(rf"\.{state}\{{fill:([^;}}]+)", CSS) for state in STATES]
    assert all(len(found) == 1 for found in colours) and len({found[0] for found in colours}) == len(STATES)
    assert "Grey: no value." in report.read_text()


def test_names_from_a_recording_cannot_break_the_page(report: Path) -> None:
    chart = charts.grouped_bars('<b>"x"', ["<i>"], [charts.Series("&", np.array([1.0]))], "<u>")
    assert "<b>" not in chart
    assert "<i>" not in chart
    assert "<u>" not in chart


def test_long_lines_keep_their_peaks() -> None:
    values = np.zeros(20_000)
    values[12_345] = 1.0
    chart = charts.lines("x", np.arange(20_000.0), [charts.Series("a", values)])
    assert len(chart) < 30_000
    heights = [float(match) for match in re.findall(r"[ML][\d.]+ ([\d.]+)", chart)]
    assert min(heights) < 30


def drawn(chart: str) -> list[list[tuple[float, float]]]:
    """Corners of each line of a chart's only series."""
    (path,) = re.findall(r'class="line[^"]*" d="([^"]*)"', chart)
    lines = [re.findall(r"([\d.]+) ([\d.]+)", part) for part in path.split("M")[1:]]
    return [[(float(x), float(y)) for x, y in line] for line in lines]


@pytest.mark.parametrize("count", [200, 2000])
def test_values_between_gaps_are_all_shown(count: int) -> None:
    """Every second frame has none, and that of the worst error lies between two of those."""
    values = np.where(np.arange(count) % 2, np.nan, -5.0)
    values[count // 2] = -40.0
    chart = charts.lines("x", np.arange(count) / 30.0, [charts.Series("a", values)])
    lines = drawn(chart)
    bottom = charts.HEIGHT - 34
    assert max(y for line in lines for _, y in line) == bottom, "the axis ends with the lowest value"
    if count == 200:
        assert [len(line) for line in lines] == [1] * 100 and chart.count("h0") == 100, "dots"
    else:
        assert len(lines) == 1, "gaps that are narrower than the line do not break it"


def test_a_gap_that_can_be_seen_breaks_a_long_line() -> None:
    values = np.full(2000, 3.0)
    values[500:600] = values[1500:1520] = np.nan
    lines = drawn(charts.lines("x", np.arange(2000.0), [charts.Series("a", values)]))
    assert len(lines) == 3
    assert lines[1][0][0] - lines[0][-1][0] == pytest.approx(101 / 1999 * 344, abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 20_000.0, ["0", "5000", "10000", "15000", "20000"]),
        (10_000.0, 12_000.0, ["10000", "10500", "11000", "11500", "12000"]),
        (1e-5, 1.2e-5, ["1e-5", "1.05e-5", "1.1e-5", "1.15e-5", "1.2e-5"]),
        (1000.0, 1000.4, ["1000", "1000.1", "1000.2", "1000.3", "1000.4"]),
        (0.0, 2e6, ["0", "500000", "1e6", "1.5e6", "2e6"]),
    ],
)
def test_labels_of_an_axis_are_right_and_unlike_each_other(low: float, high: float, labels: list[str]) -> None:
    values = [charts.Series("a", np.array([low, high]))]
    chart = charts.lines("x", np.arange(2.0), values, zero=False)
    assert re.findall(r'text-anchor="end">([^<]+)</text>', chart)[: len(labels)] == labels


def test_gaps_and_nothing_at_all() -> None:
    values = np.array([1.0, np.nan, 2.0, 3.0])
    assert charts.lines("x", np.arange(4.0), [charts.Series("a", values)]).count("M") == 2
    assert "svg" in charts.grouped_bars("x", ["a"], [charts.Series("b", np.array([np.nan]))])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_browser_draws_it(browser: Browser, report: Path, size: tuple[int, int]) -> None:
    browser.open(report, *size)
    assert browser.run("return document.compatMode") == "CSS1Compat"
    assert (
        browser.run("return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length")
        == 0
    )
    assert browser.run("return document.documentElement.scrollWidth") <= size[0]
    assert browser.run("return [...document.images].every(i => i.complete && i.naturalWidth == 320)")
    boxes = browser.run(
        "return [...document.querySelectorAll('svg')].map(s => { const b = s.getBoundingClientRect();"
        " const drawn = s.querySelectorAll('path.line, rect').length; return [b.width, b.height, drawn]; })"
    )
    assert len(boxes) >= 7
    assert all(width > 300 and height > 150 and drawn > 0 for width, height, drawn in boxes)
    text_px = browser.run("return document.querySelector('svg text').getBoundingClientRect().height")
    assert text_px >= 10
    assert browser.complaints() == []


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_links_lead_where_they_say(browser: Browser, report: Path, size: tuple[int, int]) -> None:
    browser.open(report, *size)
    page = Page(report.read_text())
    browser.run("document.documentElement.style.scrollBehavior = 'auto'")
    frames = [link for link in page.links if link.startswith("#frame-")]
    assert len(frames) == 3
    for link in (*frames[:1], "#latency"):
        browser.run("window.scrollTo(0, 0)")
        browser.click(f'a[href="{link}"]')
        assert browser.run("return location.hash") == link
        top = browser.run(f"return document.getElementById('{link[1:]}').getBoundingClientRect().top")
        at_end = browser.run("return window.innerHeight + window.scrollY >= document.body.scrollHeight - 2")
        assert -2 <= top < size[1]
        assert top < 60 or at_end
