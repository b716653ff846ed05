"""The demo's results as files and a table. No ROS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.demo.record import Moment, Record, compare
from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.visualization.chart import line_chart
from depthnet_ros.visualization.cloud import relative_cloud_depth, render_cloud, write_ply
from depthnet_ros.visualization.color import INVALID_RGB, colorize, colorize_depth, robust_limits
from depthnet_ros.visualization.picture import caption_bar, side_by_side, stacked, write_picture
from depthnet_ros.visualization.table import format_table

ASSUMED_FOV_RAD = 1.05
REPORT_FILES = ("side_by_side.png", "cloud.ply", "cloud.png", "scale.png", "table.md")
"""All that :func:`write_report` may write."""
_ROW_HEIGHT_PX = 270
_DROPS = (
    "dropped_overload",
    "dropped_rate",
    "dropped_age",
    "dropped_disabled",
    "dropped_reset",
    "bad_image",
    "bad_input",
    "backend_error",
    "internal_error",
)


def remove_report(out: Path) -> None:
    """What an earlier run left in ``out``, so that nothing of it passes for this one's; no other files.

    Raises:
        ConfigError: it cannot be removed.
    """
    for name in REPORT_FILES:
        try:
            (out / name).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot remove {out / name} of an earlier run: {error.strerror}") from error


def write_report(record: Record, source: str, out: Path) -> list[tuple[str, str]]:
    """Write pictures, cloud, chart and table into ``out``; returns the table's rows."""
    write_picture(out / "side_by_side.png", stacked([_row(moment) for moment in record.moments]))
    unit = _write_cloud(record, out)
    if any(np.isfinite(sample.true_scale) for sample in record.errors):
        write_picture(out / "scale.png", _scale_chart(record))
    rows = table_rows(record, source, unit)
    (out / "table.md").write_text(format_table(("", "this run"), rows) + "\n")
    return rows


def progress_line(record: Record, recent: int = 20) -> str:
    """One line on the run so far, the error being that of the last ``recent`` frames."""
    line = f"{record.duration_s:5.1f} s  {record.depth_count} depth images, {_rate(record):.1f} Hz"
    if not record.errors:
        return line + "  relative depth only"
    last = record.errors[-recent:]
    errors = [sample.abs_rel for sample in last if np.isfinite(sample.abs_rel)]
    if not errors:
        return line + f"  no metres: {record.camera.get('message', 'scale is not known yet')}"
    sample = next((sample for sample in reversed(last) if np.isfinite(sample.true_scale)), None)
    scale = f"  scale {sample.estimated_scale:.3g}, true {sample.true_scale:.3g}" if sample else ""
    return line + f"  metric depth against truth: AbsRel {np.median(errors):.3f}" + scale


def table_rows(record: Record, source: str, cloud_unit: str) -> list[tuple[str, str]]:
    """The run in figures, from the node's own diagnostics and from what arrived."""
    camera, network = record.camera, record.network
    dropped = {name: int(camera.get(f"frames_{name}", 0)) for name in _DROPS}
    causes = ", ".join(f"{name.removeprefix('dropped_')} {count}" for name, count in dropped.items() if count)
    rows = [
        ("input", source),
        ("network", network.get("weights", "unknown")),
        ("backend", f"{network.get('backend', 'unknown')}, {network.get('precision', 'unknown')}"),
        ("device", network.get("device", "unknown")),
        ("frames in", camera.get("frames_received", "unknown")),
        ("frames out", camera.get("frames_published", str(record.depth_count))),
        ("frames dropped", str(sum(dropped.values())) + (f" ({causes})" if causes else "")),
        ("frames not computed, as nobody listened", camera.get("frames_idle", "0")),
        ("depth received here", f"{record.depth_count} in {record.duration_s:.1f} s, {_rate(record):.1f} Hz"),
        ("stamp to publish p50 / p90 / p99", _percentiles(camera, "stamp_to_publish")),
        ("network p50 / p90 / p99", _percentiles(camera, "network")),
        ("network's share of stamp to publish", _share(camera)),
        ("point cloud in", cloud_unit),
    ]
    return rows + _metric_rows(record)


def _metric_rows(record: Record) -> list[tuple[str, str]]:
    if not record.errors:
        return []
    errors = np.array([sample.abs_rel for sample in record.errors])
    errors = errors[np.isfinite(errors)]
    if errors.size == 0:
        return [("metric depth", f"none: {record.camera.get('message', 'no scale')}")]
    return [
        ("metric depth", f"{record.metric_count} frames, scale from sonar and camera height"),
        ("AbsRel against the true depth", f"median {np.median(errors):.3f}, p90 {np.percentile(errors, 90):.3f}"),
    ]


def _rate(record: Record) -> float:
    return (record.depth_count - 1) / record.duration_s if record.duration_s > 0 else 0.0


def _percentiles(values: dict[str, str], stage: str) -> str:
    found = [values.get(f"{stage}_p{p}_ms") for p in (50, 90, 99)]
    return " / ".join(f"{float(value):.1f}" for value in found if value) + " ms" if all(found) else "unknown"


def _share(values: dict[str, str]) -> str:
    network, whole = values.get("network_p50_ms"), values.get("stamp_to_publish_p50_ms")
    return f"{float(network) / float(whole):.0%}" if network and whole and float(whole) > 0 else "unknown"


def _row(moment: Moment) -> NDArray[np.uint8]:
    pictures = [moment.rgb, colorize(moment.inverse_depth)]
    captions = [f"camera, {moment.time_s:.1f} s", "relative inverse depth, near is bright"]
    with np.errstate(divide="ignore", invalid="ignore"):
        limits = None if moment.truth_m is None else robust_limits(1.0 / moment.truth_m)
    if moment.depth_m is not None:
        if limits is None:
            with np.errstate(divide="ignore", invalid="ignore"):
                limits = robust_limits(1.0 / np.where(moment.depth_m > 0, moment.depth_m, np.nan))
        pictures.append(colorize_depth(moment.depth_m, limits))
        captions.append(f"metric depth, {_metres(limits)}{_error_text(moment)}")
    elif moment.truth_m is not None:
        pictures.append(np.full_like(moment.rgb, INVALID_RGB))
        captions.append("metric depth: none yet")
    if moment.truth_m is not None:
        pictures.append(colorize_depth(moment.truth_m, limits))
        captions.append(f"true depth, {_metres(limits)}")
    return side_by_side(pictures, captions, _ROW_HEIGHT_PX)


def _metres(limits: tuple[float, float] | None) -> str:
    """What the colours stand for; ``limits`` are (far, near) in 1/m."""
    if limits is None or limits[1] <= 0:
        return "bright is near"
    far, near = limits
    return f"{1.0 / near:.1f} (bright) to {1.0 / far:.1f} m" if far > 0 else f"{1.0 / near:.1f} m (bright) to no return"


def _error_text(moment: Moment) -> str:
    if moment.truth_m is None:
        return ""
    sample = compare(moment.time_s, moment.inverse_depth, moment.truth_m, moment.depth_m, np.nan, np.nan)
    return f", AbsRel {sample.abs_rel:.2f}"


def _write_cloud(record: Record, out: Path) -> str:
    """The node's own cloud in metres if it published one, else one of relative depth; returns its unit."""
    if record.cloud is not None:
        points, colors = record.cloud
        unit, note = "metres", "topic points: the node's cloud in metres, less what is unsure or hangs between edges"
    else:
        moment = record.moments[-1]
        camera = moment.camera
        size = (moment.rgb.shape[1], moment.rgb.shape[0])
        note = "point cloud, arbitrary units"
        if camera is None:
            camera = PinholeCamera.from_fov(*size, ASSUMED_FOV_RAD)
            note += f"; no calibration, a field of view of {np.degrees(ASSUMED_FOV_RAD):.0f} degrees is assumed"
        points, colors = camera.unproject(relative_cloud_depth(moment.inverse_depth)), moment.rgb
        unit = note.removeprefix("point cloud, ")
    write_ply(out / "cloud.ply", points, colors, unit)
    picture = render_cloud(points, colors)
    write_picture(out / "cloud.png", np.vstack((caption_bar(note, picture.shape[1]), picture)))
    return unit


def _scale_chart(record: Record) -> NDArray[np.uint8]:
    time = np.array([sample.time_s for sample in record.errors])
    estimated = np.array([sample.estimated_scale for sample in record.errors])
    true = np.array([sample.true_scale for sample in record.errors])
    error = np.array([sample.abs_rel for sample in record.errors])
    scales = line_chart(
        {"true": (time, true), "estimated": (time, estimated)}, "scale, 1/m per unit of relative inverse depth", "s"
    )
    return stacked([scales, line_chart({"metric depth against truth": (time, error)}, "AbsRel", "s")])
