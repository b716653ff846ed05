"""Rasteriser for worlds of textured parallelograms, exact in depth.

The inverse depth of a plane is affine in pixel coordinates, and so are s/z and t/z of a point ``origin + s u + t v``:
one 3 x 3 matrix per face gives its coverage, its inverse depth and its texture coordinates. Faces are drawn from near
to far into an inverse-depth buffer; only what is nearer than what is there gets textured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.simulation import shadows
from depthnet_ros.simulation.face_set import FaceSet, Matrix, find_visible
from depthnet_ros.simulation.scene import DETAILED_COPIES, Scene
from depthnet_ros.simulation.solids import Face
from depthnet_ros.simulation.sonar import Sonar
from depthnet_ros.simulation.textures import SKY_ELEVATION_DEG

_EDGE = np.float32(1e-6)  # 1/m, closes the hairline between two faces that share an edge
_SENSOR_NOISE = 2.0  # grey levels
_NOISE_SHIFTS_PX = 64
_FLAT_PX = 40  # what covers fewer pixels gets its mean colour instead of a texture
_HORIZON_DEG = -2.0  # a little below, where no ground is drawn any more


@dataclass(frozen=True)
class Frame:
    """One rendered moment.

    Attributes:
        time_s: scene time.
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, metres along optical Z at pixel centres, exact; +Inf where the sky is seen (REP 117).
        pose: (4, 4) float64, world (x forward, y left, z up) from optical frame.
        sonar_range_m: what the sonar reports: metres, +Inf without an echo, -Inf closer than it can measure.
    """

    time_s: float
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    pose: Matrix
    sonar_range_m: float


@dataclass
class _Buffers:
    """What faces are drawn into: inverse depth in 1/m (0: nothing yet), 1 where shadows can fall, colour."""

    inverse: NDArray[np.float32]
    ground: NDArray[np.uint8]
    rgb: NDArray[np.uint8]


class Renderer:
    """Renders a scene for one camera. The same scene, camera, seed and time give the same frame."""

    def __init__(self, scene: Scene, camera: PinholeCamera, sonar: Sonar | None = None, seed: int = 0) -> None:
        self.scene = scene
        self.camera = camera
        self.sonar = sonar or Sonar()
        self.seed = seed
        self._intrinsics = np.array(
            ((camera.fx_px, 0, camera.cx_px), (0, camera.fy_px, camera.cy_px), (0, 0, 1)), dtype=np.float64
        )
        self._still = FaceSet.of(scene.still.faces)
        self._distant = FaceSet.of((scene.distant or scene.still).faces)
        self._movers = [FaceSet.of(mover.solid.faces) for mover in scene.movers]
        self._still_shadows = [shadows.outline(part, scene.light) for part in scene.still.footprints]
        self._cone = self.sonar.cone(camera)
        shape = (camera.height_px + _NOISE_SHIFTS_PX, camera.width_px + _NOISE_SHIFTS_PX)
        grain = np.round(np.random.default_rng(seed).standard_normal(shape) * _SENSOR_NOISE)
        self._grain = np.repeat(grain[..., None], 3, axis=2).astype(np.int16)

    def frame(self, time_s: float) -> Frame:
        """The world at ``time_s`` seconds, any."""
        pose = self.scene.camera_pose(time_s)
        rng = np.random.default_rng((self.seed, round(abs(time_s) * 1e6)))
        size = (self.camera.height_px, self.camera.width_px)
        buffers = _Buffers(np.zeros(size, np.float32), np.zeros(size, np.uint8), self._background(pose))
        self._draw_faces(pose, self.faces(time_s), buffers)
        shadows.cast(self._all_shadows(time_s), pose, self._intrinsics, buffers.ground, buffers.rgb)
        row, column = (int(value) for value in rng.integers(0, _NOISE_SHIFTS_PX, 2))
        grain = self._grain[row : row + size[0], column : column + size[1]]
        rgb = np.asarray(cv2.add(buffers.rgb, grain, dtype=cv2.CV_8U), dtype=np.uint8)
        with np.errstate(divide="ignore"):
            depth = np.reciprocal(buffers.inverse)
        return Frame(time_s, rgb, depth, pose, self.sonar.measure(self._cone.nearest(depth), rng))

    def faces(self, time_s: float) -> FaceSet:
        """All that is drawn at a time, where it is then, in world coordinates."""
        shifts = self.scene.offsets(time_s)
        still = [self._still.moved(shift, 0.0, 0.0) for shift in shifts[:DETAILED_COPIES]]
        still += [self._distant.moved(shift, 0.0, 0.0) for shift in shifts[DETAILED_COPIES:]]
        moving = [
            faces.moved(*mover.pose(time_s)) for faces, mover in zip(self._movers, self.scene.movers, strict=True)
        ]
        return FaceSet.join(still + moving)

    def _all_shadows(self, time_s: float) -> list[Matrix]:
        shifts = [np.array((shift, 0.0, 0.0)) for shift in self.scene.offsets(time_s)[:DETAILED_COPIES]]
        still = [part + shift for shift in shifts for part in self._still_shadows]
        moving = [shadows.outline(part, self.scene.light) for part in self.scene.moving_footprints(time_s)]
        return still + moving

    def _background(self, pose: Matrix) -> NDArray[np.uint8]:
        background = np.zeros((self.camera.height_px, self.camera.width_px, 3), np.uint8)
        if self.scene.sky is None:
            return background
        height, width = self.scene.sky.shape[:2]
        top, bottom = SKY_ELEVATION_DEG
        pitch, yaw = np.arcsin(-pose[2, 2]), np.arctan2(pose[1, 2], pose[0, 2])
        elevation = np.degrees(-np.arctan(self.camera.ray_y) - pitch)
        azimuth = np.degrees(yaw - np.arctan(self.camera.ray_x))
        rows = np.clip(((top - elevation) * (height / (top - bottom))).astype(np.intp), 0, height - 1)
        columns = np.floor(-azimuth * (width / 360)).astype(np.intp) % width
        rows = rows[elevation > _HORIZON_DEG]
        background[: len(rows)] = self.scene.sky[rows[:, None], columns[None, :]]
        return background

    def _draw_faces(self, pose: Matrix, faces: FaceSet, buffers: _Buffers) -> None:
        ambient = self.scene.ambient
        visible = find_visible(faces, pose, self.camera, self._intrinsics)
        brightness = ambient + (1 - ambient) * np.clip(faces.normal[visible.index] @ self.scene.light, 0, 1)
        rows = zip(
            visible.index.tolist(), visible.forms, visible.regions.tolist(), visible.nearest, brightness, strict=True
        )
        for index, form, (left, top, right, bottom), nearest, bright in rows:
            if buffers.inverse[top:bottom, left:right].min() < nearest:
                _draw(faces.faces[index], float(bright), form, (left, top, right, bottom), buffers)


def _draw(face: Face, brightness: float, form: Matrix, region: tuple[int, int, int, int], buffers: _Buffers) -> None:
    """Draw one face where it is nearer than what is there."""
    left, top, right, bottom = region
    along = np.multiply.outer(form[:, 0], np.arange(left, right)).astype(np.float32)
    down = (np.multiply.outer(form[:, 1], np.arange(top, bottom)) + form[:, 2:]).astype(np.float32)
    s, t, near = along[:, None, :] + down[:, :, None]  # s / z, t / z, 1 / z
    visible = near > buffers.inverse[top:bottom, left:right]
    visible &= np.minimum(s, t) >= -_EDGE
    visible &= np.maximum(s, t) <= near + _EDGE
    mask = visible.view(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    if width == 0:
        return
    mask = np.ascontiguousarray(mask[y : y + height, x : x + width])
    left, top = left + x, top + y
    window = np.s_[top : top + height, left : left + width]
    cv2.copyTo(near[y : y + height, x : x + width], mask, buffers.inverse[window])
    np.copyto(buffers.ground[window], face.ground, where=mask.view(bool))
    if width * height <= _FLAT_PX:
        buffers.rgb[window][mask.view(bool)] = face.texture.mean(brightness)
        return
    middle = (left + 0.5 * width, top + 0.5 * height, 1.0)
    picture = face.texture.at(_mip_level(face, form, middle), brightness)
    to_texel = np.array(((picture.shape[1], 0, -0.5), (0, picture.shape[0], -0.5), (0, 0, 1)))
    form[:, 2] += form[:, :2] @ (left, top)  # from here on in pixels of the window
    textured = cv2.warpPerspective(
        picture,
        to_texel @ form,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    cv2.copyTo(textured, mask, buffers.rgb[window])


def _mip_level(face: Face, form: Matrix, pixel: tuple[float, float, float]) -> int:
    """How often to halve the texture so that about one texel falls on a pixel, from the Jacobian at ``pixel``."""
    (s_x, s_y, s_1), (t_x, t_y, t_1), (n_x, n_y, n_1) = form.tolist()
    near = n_x * pixel[0] + n_y * pixel[1] + n_1
    if near <= 0:
        return 0
    s = (s_x * pixel[0] + s_y * pixel[1] + s_1) / near
    t = (t_x * pixel[0] + t_y * pixel[1] + t_1) / near
    width, height = face.texture.size
    along = math.hypot(s_x - s * n_x, s_y - s * n_y) * width / near
    across = math.hypot(t_x - t * n_x, t_y - t * n_y) * height / near
    texels = math.sqrt(max(along, across, 1.0) * max(min(along, across), 1.0))
    return round(math.log2(texels))
