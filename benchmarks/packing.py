"""(d) Packing clouds and scans, against a memcpy of the bytes, the usual helper's way and a naive loop."""

from __future__ import annotations

import struct
from array import array
from typing import Any

import numpy as np
from numpy.lib.recfunctions import unstructured_to_structured
from numpy.typing import NDArray

from benchmarks.measure import IMAGE_PX, Check, Part, Settings, Timing, in_turn, timed
from benchmarks.worker import cloud_memory, picture
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.cloud import POINT_STEP, CloudPacker
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.scan import PlanarScan, ScanProjector

_EVICT_BYTES = 64 << 20


def naive_cloud(depth_m: NDArray[np.float32], camera: PinholeCamera, rgb: NDArray[np.uint8]) -> array[int]:
    """Point by point, as tutorials do it."""
    data = bytearray()
    for v in range(camera.height_px):
        for u in range(camera.width_px):
            z = float(depth_m[v, u])
            x = (u - camera.cx_px) * z / camera.fx_px
            y = (v - camera.cy_px) * z / camera.fy_px
            red, green, blue = rgb[v, u]
            data += struct.pack("<3f4B", x, y, z, blue, green, red, 0)
    return array("B", data)


def helper_cloud(depth_m: NDArray[np.float32], camera: PinholeCamera, rgb: NDArray[np.uint8]) -> array[int]:
    """The way of ``sensor_msgs_py.create_cloud``: an N x 4 array, made structured, to bytes, to an array."""
    colour = rgb.astype(np.uint32)
    packed = (colour[..., 0] << 16 | colour[..., 1] << 8 | colour[..., 2]).view(np.float32)
    points = np.concatenate((camera.unproject(depth_m), packed[..., None]), axis=-1).reshape(-1, 4)
    structured = unstructured_to_structured(
        points, dtype=np.dtype([(name, np.float32) for name in ("x", "y", "z", "rgb")])
    )
    data = array("B")
    data.frombytes(structured.tobytes())
    return data


def naive_scan(depth_m: NDArray[np.float32], camera: PinholeCamera, height_m: float, rays: int) -> NDArray[np.float32]:
    """Nearest obstacle by angle, pixel by pixel."""
    half = np.arctan2(camera.cx_px, camera.fx_px)
    ranges = np.full(rays, np.inf, np.float32)
    for v in range(camera.height_px):
        for u in range(camera.width_px):
            z = float(depth_m[v, u])
            x, y = (u - camera.cx_px) * z / camera.fx_px, (v - camera.cy_px) * z / camera.fy_px
            if 0.1 < height_m - y < 1.5:
                index = int((np.arctan2(x, z) + half) / (2 * half) * (rays - 1))
                if 0 <= index < rays:
                    ranges[index] = min(ranges[index], np.hypot(x, z))
    return ranges


def swaying_scan(
    depth_m: NDArray[np.float32],
    camera: PinholeCamera,
    level_from_optical: NDArray[np.float64],
    known: NDArray[np.bool_],
    band: HeightBand,
) -> PlanarScan:
    """What a drone or a legged robot asks for: TF gives another tilt with every frame."""
    projector = ScanProjector(camera, level_from_optical)
    return projector.scan(projector.classify(depth_m, known, band))


def packing(settings: Settings) -> Part:
    """Clouds of 640x480, once as the node meets them (other memory was touched in between), once hot in the cache."""
    part = Part("packing", "Packing a 640x480 cloud and scan")
    height, width = IMAGE_PX
    camera = PinholeCamera.from_fov(width, height, 1.2)
    depth_m = np.random.default_rng(0).uniform(0.5, 9.0, IMAGE_PX).astype(np.float32)
    holes = depth_m.copy()
    holes[:96] = np.nan
    rgb = picture(height, width)
    packer, points = CloudPacker(), cloud_memory(height, width)
    source, target = (np.ones(height * width * POINT_STEP, np.uint8) for _ in range(2))
    level = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1]], np.float64)
    projector, band = ScanProjector(camera, level), HeightBand(0.1, 1.5, 0.2, 8.0)
    known = np.ones(IMAGE_PX, np.bool_)
    functions: dict[str, Any] = {
        "memcpy of the cloud's bytes": lambda: np.copyto(target, source),
        "CloudPacker": lambda: packer.pack(depth_m, camera, points, rgb=rgb),
        "CloudPacker, a fifth NaN": lambda: packer.pack(holes, camera, points, rgb=rgb),
        "CloudPacker, limited to 5 m": lambda: packer.pack(depth_m, camera, points, rgb=rgb, max_depth_m=5.0),
        "as create_cloud does": lambda: helper_cloud(depth_m, camera, rgb),
        "scan": lambda: projector.scan(projector.classify(depth_m, known, band)),
        "scan, the ground anew in each frame": lambda: swaying_scan(depth_m, camera, level, known, band),
    }
    hot = in_turn(functions, settings.rounds, runs=100)
    ballast = np.ones(_EVICT_BYTES // 4, np.float32)
    cold = {name: _after_eviction(function, ballast, 20 * settings.rounds) for name, function in functions.items()}
    once = {
        "naive cloud loop": Timing.of(timed(lambda: naive_cloud(depth_m, camera, rgb), 1, warm_up=0)),
        "naive scan loop": Timing.of(timed(lambda: naive_scan(depth_m, camera, 0.5, 320), 1, warm_up=0)),
    }
    copy_hot, copy_cold = (times["memcpy of the cloud's bytes"].median_ms for times in (hot, cold))
    for name, timing in {**hot, **once}.items():
        evicted = cold.get(name)
        part.rows.append({
            "what": name, **timing.row(), "in memcpys": timing.median_ms / copy_hot,
            "evicted ms": evicted.median_ms if evicted else float("nan"),
            "evicted, in memcpys": evicted.median_ms / copy_cold if evicted else float("nan"),
        })  # fmt: skip
    part.checks = [
        Check(
            "cloud in memcpys of its bytes, caches as after a network", cold["CloudPacker"].median_ms / copy_cold, 3.0
        ),
        Check("cloud in memcpys of its bytes, all hot in the cache", hot["CloudPacker"].median_ms / copy_hot, 3.0),
    ]
    part.notes.append(f"evicted: {_EVICT_BYTES >> 20} MiB of other memory were written before each call")
    return part


def _after_eviction(function: Any, ballast: NDArray[np.float32], runs: int) -> Timing:
    seconds: list[float] = []
    for _ in range(runs):
        ballast += 1
        seconds += timed(function, 1, warm_up=0)
    return Timing.of(seconds)
