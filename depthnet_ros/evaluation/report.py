"""An evaluation as one HTML file: pictures and charts inside, nothing to fetch, no script."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation import charts
from depthnet_ros.evaluation.album import Album, Strip
from depthnet_ros.evaluation.bands import BANDS_M, band_name
from depthnet_ros.evaluation.charts import Mark, Series, Span
from depthnet_ros.evaluation.obstacles import TOLERANCE_M, TOLERANCE_SHARE
from depthnet_ros.evaluation.report_style import CSS
from depthnet_ros.evaluation.results import Results, write_whole
from depthnet_ros.evaluation.session import STATES

_SIDES = (("metric", "as published"), ("aligned", "aligned"))
_NAV = (
    ("distance", "By distance"),
    ("time", "Over time"),
    ("worst", "Worst frames"),
    ("even", "Through the recording"),
    ("spread", "Histograms"),
    ("obstacles", "Obstacles"),
    ("objects", "Objects"),
    ("latency", "Latency"),
    ("about", "How it was made"),
)


def write_report(results: Results, album: Album, path: Path) -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        ResultsError: it cannot be written.
    """
    write_whole(path, render(results, album))


def render(results: Results, album: Album) -> str:
    """The page as text."""
    sections = {
        "distance": _distance(results),
        "time": _time(results, album.worst),
        "worst": _strips("Worst frames", "Those with the largest AbsRel, one a second.", album.worst, results),
        "even": _strips("Through the recording", "Frames at even steps.", album.even, results),
        "spread": _spread(results),
        "obstacles": obstacles_section(results),
        "objects": objects_section(results),
        "latency": _latency(results),
        "about": _about(results),
    }
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in _NAV if sections[name])
    body = "".join(f'<section id="{name}">{sections[name]}</section>' for name, _ in _NAV if sections[name])
    title = f"Depth on {results.source['recording']}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>"
        f"{_head(results, title)}<nav>{links}</nav>{_cards(results)}{body}</main></body></html>\n"
    )


def _head(results: Results, title: str) -> str:
    source, counts, model = results.source, results.counts, results.model
    seconds = source["last_stamp_s"] - source["first_stamp_s"]
    line = (
        f"{escape(source['image_topic'])} against {escape(source['reference_topic'])}: "
        f"{counts['evaluated']} of {counts['images']} images compared, {seconds:.1f} s. "
        f"Network {escape(str(model.get('weights', model['architecture'])))} in {escape(str(model['precision']))} "
        f"by {escape(str(results.model['backend']))}."
    )
    banner = ""
    if not results.complete:
        notes = "".join(f"<li>{escape(note)}</li>" for note in results.notes)
        banner = f'<div class="banner bad"><b>Incomplete:</b> these figures are of a part only.<ul>{notes}</ul></div>'
    return f'<h1>{escape(title)}</h1><p class="dim">{line}</p>{banner}'


def _cards(results: Results) -> str:
    metric, aligned = results.figures.get("metric") or {}, results.figures.get("aligned") or {}
    obstacles = (results.figures.get("obstacles") or {}).get("scan") or {}
    latency = (results.figures.get("latency_s") or {}).get("total") or {}
    cards = [
        (_percent(metric.get("abs_rel")), "AbsRel, metres", "mean error of depth as published, share of the distance"),
        (_percent(metric.get("bias"), sign=True), "Bias, metres", "above zero: too far"),
        (_percent(aligned.get("abs_rel")), "AbsRel, aligned", "after the best scale and shift of each frame"),
        (_percent(aligned.get("delta1")), "delta1, aligned", "pixels within 25 % of the truth"),
        (_percent(metric.get("coverage")), "Coverage", "reference pixels that got metres"),
        (_percent(results.figures.get("published_share")), "Frames with metres", "scale known well enough to publish"),
        (
            _percent(metric.get("flicker", aligned.get("flicker")), 2),
            "Flicker",
            "change from frame to frame, less the scene's",
        ),
        (
            _percent(obstacles.get("false_free")),
            "Missed obstacles",
            "of the scan's obstacle beams, those reported free",
        ),
        (
            _percent(obstacles.get("false_obstacle")),
            "Invented obstacles",
            "of the beams seen in both, those that end well before what the reference has there",
        ),
        (_milliseconds(latency.get("median")), "Per image", "median, decoding to metres, on this machine"),
    ]
    shown = (card for card in cards if card[0])
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><b>{value}</b><span>{name}</span><small>{text}</small></div>'
            for value, name, text in shown
        )
        + "</div>"
    )


def _distance(results: Results) -> str:
    labels = [f"{band_name(index)}" for index in range(len(BANDS_M))]
    found = [(title, bands) for side, title in _SIDES if (bands := (results.figures.get(side) or {}).get("bands"))]
    used = [i for i in range(len(labels)) if any(bands[i]["abs_rel"] is not None for _, bands in found)]
    if not used:
        return ""
    names = [labels[i] for i in used]
    errors = [Series(title, _column(bands, used, "abs_rel")) for title, bands in found]
    biases = [Series(title, _column(bands, used, "bias")) for title, bands in found]
    rows = []
    for title, bands in found:
        for i in used:
            band = bands[i]
            if not band["pixels"]:
                continue
            cells = [_percent(band["abs_rel"]), _percent(band["bias"], sign=True), _metres(band["rmse"])]
            cells += [_percent(band["delta1"]), _percent(band["coverage"]), f"{band['pixels']:,}"]
            rows.append([f"{labels[i]} m, {title}", *cells])
    table = _table(["reference depth", "AbsRel", "bias", "RMSE", "delta1", "coverage", "pixels"], rows)
    return (
        '<h2>By distance</h2><div class="charts">'
        + charts.grouped_bars("AbsRel by reference depth (m)", names, errors, "%", 100.0)
        + charts.grouped_bars("Bias by reference depth (m): above zero is too far", names, biases, "%", 100.0)
        + f"</div><h3>In figures</h3>{table}"
    )


def _time(results: Results, worst: Sequence[Strip]) -> str:
    frames = results.frames
    x = frames["stamp_s"] - results.source["first_stamp_s"]
    if len(x) < 2:
        return ""
    sides = [(side, title) for side, title in _SIDES if np.isfinite(frames[f"{side}.abs_rel"]).any()]
    error = [Series(title, 100.0 * frames[f"{side}.abs_rel"]) for side, title in sides]
    marks = [
        Mark(float(x[s.index]), 100.0 * s.score, f"#frame-{s.index}", f"frame {s.index}: {s.score:.1%}") for s in worst
    ]
    spans = _state_spans(x, frames["metric.state"])
    parts = [charts.lines("AbsRel over time; dots lead to the worst frames", x, error, "%", marks=marks, spans=spans)]
    bias = [Series(title, 100.0 * frames[f"{side}.bias"]) for side, title in sides]
    parts.append(charts.lines("Bias over time: above zero is too far", x, bias, "%"))
    scales = [Series("best for the frame, with a shift of its own", frames["aligned.scale"])]
    if np.isfinite(frames["metric.scale"]).any():
        scales.insert(0, Series("used", frames["metric.scale"]))
    parts.append(charts.lines("Scale over time (1/m per unit of the network)", x, scales, spans=spans))
    flicker = [Series(title, 100.0 * frames[f"{side}.flicker"]) for side, title in sides]
    if any(np.isfinite(one.values).any() for one in flicker):
        parts.append(charts.lines("Flicker from frame to frame", x, flicker, "%"))
    key = ""
    if spans:
        used = dict.fromkeys(span.css for span in spans)
        key = (
            '<div class="legend">Strip below the plots: state of the scale. '
            + "".join(f'<span><i class="{name}"></i>{name}</span>' for name in used)
            + "</div>"
        )
    return f'<h2>Over time</h2>{key}<div class="charts">{"".join(parts)}</div>'


def _state_spans(x: NDArray[np.float64], states: NDArray[np.float64]) -> list[Span]:
    if not np.isfinite(states).any():
        return []
    names = [STATES[int(value)] if np.isfinite(value) else "" for value in states]
    changes = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)]
    spans = []
    for first, after in pairwise(changes):
        end = float(x[min(after, len(x) - 1)])
        if names[first]:
            spans.append(Span(float(x[first]), end, names[first], f"{names[first]} from {x[first]:.1f} to {end:.1f} s"))
    return spans


def _strips(title: str, text: str, strips: Sequence[Strip], results: Results) -> str:
    if not strips:
        return ""
    start = results.source["first_stamp_s"]
    body = "".join(_strip(strip, start, anchor=title.startswith("Worst")) for strip in strips)
    key = (
        "Depth and reference share their colours: near is bright, far is dark. Error: blue too near, red too far. "
        "Grey: no value."
    )
    return f'<h2>{title}</h2><p class="dim">{text} {key}</p>{body}'


def _strip(strip: Strip, start_s: float, anchor: bool) -> str:
    names = ("camera", "depth", "reference", "error, full colour at 30 %")
    pictures = "".join(
        f'<figure><img alt="{name}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
        f"<figcaption>{name}</figcaption></figure>"
        for name, data in zip(names, (strip.camera, strip.depth, strip.reference, strip.error), strict=True)
    )
    identifier = f' id="frame-{strip.index}"' if anchor else ""
    near, far = strip.limits_m
    side = "metres" if strip.in_metres else "aligned"
    return (
        f'<div class="strip"{identifier}><header><b>Frame {strip.index}</b>'
        f"<span>AbsRel {strip.score:.1%}, {side}</span><span>{1e-9 * strip.stamp_ns - start_s:.2f} s</span>"
        f"<span>{near:.1f} to {far:.1f} m</span></header><div>{pictures}</div></div>"
    )


def _spread(results: Results) -> str:
    parts = []
    for side, title in _SIDES:
        values = 100.0 * results.frames[f"{side}.abs_rel"]
        values = values[np.isfinite(values)]
        if values.size > 1:
            low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
            counts, edges = np.histogram(values.clip(low, high), bins=30, range=(low, max(high, low + 1e-6)))
            parts.append(charts.histogram(f"AbsRel of frames, {title}", edges, counts, "%"))
    signed = results.figures["signed_error_histogram"]
    counts = np.array(signed["counts"])
    edges = np.linspace(signed["from"], signed["to"], len(counts) + 1) * 100.0
    parts.append(
        charts.histogram("Signed error of pixels (outermost: and beyond); right of zero is too far", edges, counts, "%")
    )
    for side, title in _SIDES:
        sigma = (results.figures.get(side) or {}).get("sigma")
        if sigma:
            names = [f"{row['sigmas']:g}σ" for row in sigma["within"]]
            found = Series("errors within", np.array([100.0 * row["observed"] for row in sigma["within"]]))
            ideal = Series("if sigma were right", np.array([100.0 * row["gaussian"] for row in sigma["within"]]))
            parts.append(charts.grouped_bars(f"Is sigma honest? {title}", names, [found, ideal], "%"))
    return f'<h2>Histograms</h2><div class="charts">{"".join(parts)}</div>'


def obstacles_section(results: Results) -> str:
    """What a planner would have missed and invented, as HTML; empty where that was not measured."""
    rates = results.figures.get("obstacles")
    if not rates:
        return ""
    names = {"scan": "scan, by beam", "grid": "costmap grid, by cell"}
    shares = ("false_free", "false_obstacle", "unseen")
    heads = ("missed (false_free)", "invented (false_obstacle)", "unseen")
    rows = [
        [names[place], *(_percent(one[name]) for name in shares), f"{one['obstacles']:,.0f}"]
        for place, one in rates.items()
    ]
    text = (
        "Depth as published and the reference, each turned into the scan that planners get. "
        "Missed: an obstacle of the reference reported as free. Invented: one well before what the reference has. "
        "Unseen: an obstacle of which the estimate says nothing. "
        f"{TOLERANCE_M:g} m plus {100 * TOLERANCE_SHARE:g} % of the range is no error, nor in the grid one cell more; "
        "obstacles for which that ends beyond the scan's range are left out."
    )
    return f"<h2>Obstacles</h2><p class='dim'>{text}</p>{_table(['', *heads, 'obstacles'], rows)}"


def objects_section(results: Results) -> str:
    """Distances of objects by class, as HTML; empty without boxes."""
    if not results.objects:
        return ""
    rows = []
    for entry in results.objects["classes"]:
        cells = [str(entry["count"]), _percent(entry["abs_rel"]), _percent(entry["bias"], sign=True)]
        rows.append([f"{entry['name']}, {entry['band']} m", *cells, _metres(entry["median_error_m"])])
    head = ["class and distance", "boxes", "AbsRel", "bias", "median error"]
    left_out = (
        f"In no row: {results.objects['unmeasured']:,} boxes in which estimate or reference is not known, "
        f"{results.objects['beyond']:,} beyond {BANDS_M[-1][1]:g} m."
    )
    text = escape(f"{results.objects['method']} {left_out}")
    return f'<h2>Objects</h2><p class="dim">{text}</p>{_table(head, rows)}'


def _latency(results: Results) -> str:
    stages = results.figures.get("latency_s") or {}
    rows = [[name, _milliseconds(times["median"]), _milliseconds(times["p95"])] for name, times in stages.items()]
    if not rows:
        return ""
    return f"<h2>Latency</h2>{_table(['stage', 'median', '95 % below'], rows)}"


def _about(results: Results) -> str:
    counts = _table(
        ["images", "number"], [[name.replace("_", " "), f"{value:,}"] for name, value in results.counts.items()]
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in results.notes) or "<li>none</li>"
    details = "".join(
        f"<details><summary>{title}</summary><pre>{escape(json.dumps(data, indent=1, default=str))}</pre></details>"
        for title, data in (
            ("Recording and topics", results.to_dict()["source"]),
            ("Network", results.to_dict()["model"]),
            ("Settings", results.to_dict()["settings"]),
        )
    )
    return f"<h2>How it was made</h2>{counts}<h3>Notes</h3><ul>{notes}</ul>{details}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell) or '–'}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _column(bands: Sequence[Mapping[str, Any]], used: Sequence[int], name: str) -> NDArray[np.float64]:
    return np.array([np.nan if bands[i][name] is None else bands[i][name] for i in used])


def _percent(value: float | None, digits: int = 1, sign: bool = False) -> str:
    return "" if value is None else f"{100.0 * value:{'+' if sign else ''}.{digits}f} %"


def _metres(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} m"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:.1f} ms"
