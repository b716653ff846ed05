"""The scene renderer as a source."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from depthnet_ros.geometry.calibration import Calibration
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.simulation import Frame, Renderer, create_scene
from depthnet_ros.sources.base import Source, SourceFrame, SourceOptions

DEFAULT_SIZE_PX = (640, 480)
DEFAULT_FOV_RAD = 1.2


class RenderedScene(Source):
    """A rendered drive without an end, with exact depth and a simulated sonar.

    Raises:
        ConfigError: no scene of that name.
    """

    endless = True

    def __init__(self, name: str, options: SourceOptions) -> None:
        self.rate_hz = self._rate_hz = options.rate_hz
        size = (options.width_px or DEFAULT_SIZE_PX[0], options.height_px or DEFAULT_SIZE_PX[1])
        camera = PinholeCamera.from_fov(*size, options.horizontal_fov_rad or DEFAULT_FOV_RAD)
        self.renderer = Renderer(create_scene(name, options.seed), camera, seed=options.seed)
        self.description = f"rendered {name}, {size[0]}x{size[1]}"
        self._calibration = Calibration.of(camera)

    def __iter__(self) -> Iterator[SourceFrame]:
        for index in count():
            yield self._frame(index, self.renderer.frame(index / self._rate_hz))

    def _frame(self, index: int, frame: Frame) -> SourceFrame:
        return SourceFrame(
            name=f"{self.renderer.scene.name}_{index:06d}",
            stamp_s=frame.time_s,
            rgb=lambda: frame.rgb,
            calibration=self._calibration,
            depth_m=frame.depth_m,
            sonar_range_m=frame.sonar_range_m,
        )
