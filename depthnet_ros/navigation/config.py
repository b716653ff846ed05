"""Every setting of what planners take: name, default, range and meaning, declared once."""

from __future__ import annotations

from dataclasses import dataclass

from depthnet_ros.errors import ConfigError
from depthnet_ros.settings import check_settings, setting

LEAST_RANGE_M = 0.1
"""That ``max_range_m`` and ``clearing_range_m`` may be."""
_LEAST_VOXEL_M = 0.001  # so that cubes can be counted, as far as any camera sees


@dataclass(frozen=True)
class NavigationConfig:
    """Settings of what planners take: cloud, clearing cloud, scan and nearest obstacle; ROS parameters ``nav.<field>``.

    Heights and corridor are in a levelled frame at the camera, from ``scale.ground_*`` or TF: z up, zero on the ground.
    """

    min_range_m: float = setting(
        0.2, "nearest range of scan and obstacle/nearest; nearer is -Inf there, and still in the cloud", 0.0, 1e3
    )
    max_range_m: float = setting(
        5.0, "farthest obstacle in points and scan; range_max of scan and obstacle/nearest", LEAST_RANGE_M, 1e3
    )
    min_height_m: float = setting(
        0.1, "bottom of the height band, above the ground; lower things are no obstacles", -10.0, 10.0
    )
    max_height_m: float = setting(1.5, "top of the height band, above the ground", -10.0, 100.0)
    min_confidence: float = setting(
        0.5,
        "pixels of lower confidence are left out of points; in scan and obstacle/nearest they are no "
        "obstacle, and not free either",
        0.0,
        1.0,
    )
    remove_flying_pixels: bool = setting(True, "leave out pixels that hang between near and far at depth edges")
    voxel_size_m: float = setting(
        0.0, "keep one point per cube of this side (at least 0.001; the cloud stays organised); 0: keep all", 0.0, 10.0
    )
    clearing_range_m: float = setting(
        6.0, "farthest point in points/clearing and points/clearing_3d", LEAST_RANGE_M, 1e3
    )
    scan_rays: int = setting(
        0,
        "number of rays across the camera's view, at most one per two columns of the cloud; 0: one per four",
        0,
        10000,
    )
    scan_frame: str = setting(
        "",
        "frame of scan and obstacle/nearest: level, at the camera, x ahead, z up; empty: the image's frame without "
        "_optical, only if the camera is level; {camera} stands for the camera's name, and is required with several "
        "cameras",
    )
    corridor_width_m: float = setting(0.6, "width of the robot's corridor for obstacle/nearest", 0.01, 100.0)
    corridor_offset_m: float = setting(
        0.0, "how far to the left of the camera the middle of that corridor is: the robot's own middle", -100.0, 100.0
    )

    def __post_init__(self) -> None:
        check_settings(self, "nav.")
        if 0.0 < self.voxel_size_m < _LEAST_VOXEL_M:
            raise ConfigError(
                f"nav.voxel_size_m must be at least {_LEAST_VOXEL_M:g}, or 0 for all points, got {self.voxel_size_m:g}"
            )
        for low, high in (("min_range_m", "max_range_m"), ("min_height_m", "max_height_m")):
            if getattr(self, low) >= getattr(self, high):
                raise ConfigError(f"nav.{low} ({getattr(self, low)}) must be below nav.{high} ({getattr(self, high)})")
