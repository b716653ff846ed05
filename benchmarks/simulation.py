"""The scene renderer on one core, against numpy ray casting of the same faces for every pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Check, Part, Settings, Timing, timed
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.simulation import SCENES, Renderer, create_scene

_SIZE_PX = (320, 240)
_FRAMES_PER_S = 60.0
_STEP_S = 1.0 / 15.0


def ray_cast_depth(renderer: Renderer, time_s: float) -> NDArray[np.float64]:
    """(H, W) depth by one intersection test per pixel and face: no picture, depth alone."""
    camera, pose = renderer.camera, renderer.scene.camera_pose(time_s)
    rays = np.dstack(np.broadcast_arrays(camera.ray_x[None, :], camera.ray_y[:, None], np.float32(1))) @ pose[:3, :3].T
    nearest = np.full(rays.shape[:2], np.inf)
    faces = renderer.faces(time_s)
    offsets = faces.origin - pose[:3, 3]
    for offset, edge_u, edge_v, normal in zip(offsets, faces.edge_u, faces.edge_v, faces.normal, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            towards = rays @ normal
            depth = (offset @ normal) / towards
            hit = depth[..., None] * rays - offset
            s = hit @ edge_u / (edge_u @ edge_u)
            t = hit @ edge_v / (edge_v @ edge_v)
            good = (towards < 0) & (depth > 0) & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1) & (depth < nearest)
        nearest[good] = depth[good]
    return nearest


def simulation(settings: Settings) -> Part:
    """Frames of a drive: time goes on from call to call, so nothing is rendered twice."""
    part = Part("simulation", "Rendering 320x240 on one core")
    camera = PinholeCamera.from_fov(*_SIZE_PX, 1.2)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for name in SCENES:
            rows, check = _scene(name, Renderer(create_scene(name), camera), settings)
            part.rows += rows
            part.checks.append(check)
    finally:
        cv2.setNumThreads(threads)
    return part


def _scene(name: str, renderer: Renderer, settings: Settings) -> tuple[list[dict[str, object]], Check]:
    clock = iter(range(1_000_000))
    seconds: list[float] = []
    for _ in range(settings.rounds):
        seconds += timed(lambda: renderer.frame(next(clock) * _STEP_S), runs=150, most_s=6.0, warm_up=30)
    rendered = Timing.of(seconds)
    cast = Timing.of(timed(lambda: ray_cast_depth(renderer, 1.0), runs=2, most_s=20.0, warm_up=0))
    check = Check(f"{name}, frames per second", 1e3 / rendered.median_ms, _FRAMES_PER_S, at_most=False)
    rows: list[dict[str, object]] = [
        {
            "what": f"{name}: picture, depth and sonar",
            **rendered.row(),
            "times as fast": cast.median_ms / rendered.median_ms,
        },
        {"what": f"{name}: ray casting, depth alone", **cast.row(), "times as fast": 1.0},
    ]
    return rows, check
