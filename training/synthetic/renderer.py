"""A small moderngl scene: colour at twice the size, smoothed down; depth exact at pixel centres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from training.synthetic import shaders
from training.synthetic.camera import Pose, projection_matrix
from training.synthetic.chunks import Sphere, pieces
from training.synthetic.errors import NoRendererError
from training.synthetic.images import mip_levels
from training.synthetic.lighting import Lighting
from training.synthetic.mesh import Model, Surface, Texture

_SUPERSAMPLE = 2
_SHADOW_PX = 1024
_ATTRIBUTES = ("position", "normal", "uv", "light_uv", "colour")
_FORMAT = "3f 3f 2f 2f 3f"
_DEPTH_FORMAT, _DEPTH_ATTRIBUTES = "3f 12x 2f 20x", ("position", "uv")
_GREY = np.full((2, 2, 4), 150, dtype=np.uint8)
_GREY[..., 3] = 255


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 along the optical axis at each pixel's centre; infinity where the sky is seen.
        camera: intrinsics.
    """

    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    camera: PinholeCamera


GpuModel = list["_Drawable"]
Placed = tuple[GpuModel, NDArray[np.float64]]


@dataclass(frozen=True)
class Shadows:
    """What keeps the sun off, in a ball; outside of it all is lit.

    Attributes:
        casters: models with their (4, 4) world-from-model matrices.
        centre_m: (3,) of the ball.
        radius_m: of the ball.
        spread: half-width of the shadows' soft edges, in texels of the map (1024 across the ball).
    """

    casters: Sequence[Placed]
    centre_m: NDArray[np.float64]
    radius_m: float
    spread: float = 1.5


@dataclass(frozen=True)
class _Drawable:
    colour_array: Any
    depth_array: Any
    image: Any
    light_map: Any
    cut: float
    one_sided: float
    sphere: Sphere


class Renderer:
    """Draws models into frames of one size, without a window (EGL; software rendering is enough).

    Several may live at once: each makes its own context the current one while it draws.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        """Raises NoRendererError if moderngl or EGL is missing."""
        try:
            import moderngl
        except ImportError as error:
            raise NoRendererError("moderngl is not installed: pip install moderngl pillow") from error
        try:
            create_context: Any = moderngl.create_context
            self.context: Any = create_context(standalone=True, backend="egl")
        except Exception as error:
            raise NoRendererError(f"no EGL context ({error}): apt-get install libegl1 libgl1-mesa-dri") from error
        context = self.context
        self.width_px, self.height_px = width_px, height_px
        self._surface: Any = context.program(shaders.SURFACE_VERTEX, shaders.SURFACE_FRAGMENT)
        self._depth: Any = context.program(shaders.SURFACE_VERTEX, shaders.DEPTH_FRAGMENT)
        self._sky: Any = context.program(shaders.SKY_VERTEX, shaders.SKY_FRAGMENT)
        corners = context.buffer(np.array(((-1, -1), (3, -1), (-1, 3)), np.float32).tobytes())
        self._sky_array = context.vertex_array(self._sky, [(corners, "2f", "corner")])
        big = (width_px * _SUPERSAMPLE, height_px * _SUPERSAMPLE)
        self._colour_target = context.framebuffer(
            [context.renderbuffer(big, 4, dtype="f2")], context.depth_renderbuffer(big)
        )
        size = (width_px, height_px)
        self._depth_target = context.framebuffer(
            [context.renderbuffer(size, 1, dtype="f4")], context.depth_renderbuffer(size)
        )
        self._shadow_map = context.depth_texture((_SHADOW_PX, _SHADOW_PX))
        self._shadow_map.compare_func = ""
        self._shadow_map.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_target = context.framebuffer([], self._shadow_map)
        self._textures: dict[tuple[str, bool], Any] = {}
        self._mipmapped = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self._depth_test = moderngl.DEPTH_TEST
        context.enable(self._depth_test)

    def upload(self, model: Model) -> GpuModel:
        """Geometry and textures to the GPU; draw the result as often as you like."""
        with self.context:
            return [self._drawable(piece, sphere) for surface in model for piece, sphere in pieces(surface)]

    def _drawable(self, surface: Surface, sphere: Sphere) -> _Drawable:
        buffer = self.context.buffer(np.ascontiguousarray(surface.vertices).tobytes())
        return _Drawable(
            self._array(self._surface, buffer, _FORMAT, _ATTRIBUTES),
            self._array(self._depth, buffer, _DEPTH_FORMAT, _DEPTH_ATTRIBUTES),
            self._texture(surface.texture, surface.cut_out),
            None if surface.light_map is None else self._texture(surface.light_map, False),
            0.5 if surface.cut_out else -1.0,
            float(surface.one_sided),
            sphere,
        )

    def _array(self, program: Any, buffer: Any, layout: str, names: tuple[str, ...]) -> Any:
        return self.context.vertex_array(program, [(buffer, layout, *names)])

    def _texture(self, texture: Texture, cut_out: bool) -> Any:
        key = (texture.key, cut_out)
        if key not in self._textures:
            image = texture.load()
            pixels = np.ascontiguousarray((_GREY if image is None else image)[::-1])
            gpu = self.context.texture(pixels.shape[1::-1], 4, pixels.tobytes(), alignment=1)
            gpu.build_mipmaps()
            for level, smaller in enumerate(mip_levels(pixels)[1:] if cut_out else (), start=1):
                gpu.write(np.ascontiguousarray(smaller), level=level, alignment=1)
            gpu.filter = self._mipmapped
            self._textures[key] = gpu
        return self._textures[key]

    def close(self) -> None:
        """Frees everything that was uploaded; the renderer cannot be used afterwards."""
        self.context.release()

    def depth(self, placed: Sequence[Placed], pose: Pose, camera: PinholeCamera) -> NDArray[np.float32]:
        """(H, W) float32 depth in metres, infinity at the sky, negative on the back of a one-sided surface."""
        with self.context:
            return self._draw_depth(placed, pose, camera)

    def _draw_depth(self, placed: Sequence[Placed], pose: Pose, camera: PinholeCamera) -> NDArray[np.float32]:
        self._depth_target.use()
        self._depth_target.clear(np.inf, 0, 0, 0, depth=1.0)
        self._write_camera(self._depth, pose, camera)
        for model, matrix in placed:
            _write_matrix(self._depth, "model", matrix)
            for drawable in _in_sight(model, pose.view_matrix() @ matrix, camera):
                drawable.image.use(0)
                self._depth["cut"].value = drawable.cut
                self._depth["one_sided"].value = drawable.one_sided
                drawable.depth_array.render()
        data = self._depth_target.read(components=1, dtype="f4", alignment=1)
        return np.frombuffer(data, np.float32).reshape(self.height_px, self.width_px)[::-1].copy()

    def render(
        self,
        placed: Sequence[Placed],
        pose: Pose,
        camera: PinholeCamera,
        lighting: Lighting,
        rng: np.random.Generator,
        shadows: Shadows | None = None,
    ) -> Frame:
        """One frame of the placed models.

        Args:
            placed: models with their (4, 4) world-from-model matrices.
            pose: of the camera.
            camera: its size must be the renderer's.
            lighting: of the frame.
            rng: for the sensor noise.
            shadows: of the sun; None draws without.
        """
        with self.context:
            depth_m = self._draw_depth(placed, pose, camera)
            self._cast(shadows, lighting)
            linear = self._colours(placed, pose, camera, lighting)
        return Frame(_develop(linear, lighting, rng), np.abs(depth_m), camera)

    def _cast(self, shadows: Shadows | None, lighting: Lighting) -> None:
        """Draws the casters' depths as the sun sees them, and tells the surface program of it."""
        self._surface["shaded"].value = float(shadows is not None)
        if shadows is None:
            return
        to_map, view = _seen_from_the_sun(shadows, lighting.sun_direction)
        self._shadow_target.use()
        self._shadow_target.clear(depth=1.0)
        _write_matrix(self._depth, "projection", to_map)
        _write_matrix(self._depth, "view", view)
        self._depth["one_sided"].value = 0.0
        for model, matrix in shadows.casters:
            _write_matrix(self._depth, "model", matrix)
            for drawable in model:
                drawable.image.use(0)
                self._depth["cut"].value = drawable.cut
                drawable.depth_array.render()
        _write_matrix(self._surface, "shadow_from_world", to_map @ view)
        self._surface["shadow_texel_m"].value = 2 * shadows.radius_m / _SHADOW_PX
        self._surface["shadow_spread"].value = shadows.spread
        self._surface["shadow_map"].value = 2
        self._shadow_map.use(2)

    def _colours(
        self, placed: Sequence[Placed], pose: Pose, camera: PinholeCamera, lighting: Lighting
    ) -> NDArray[np.float32]:
        self._colour_target.use()
        self._colour_target.clear(0, 0, 0, 1, depth=1.0)
        self._draw_sky(pose, camera, lighting)
        program = self._surface
        self._write_camera(program, pose, camera)
        for name in ("sun_direction", "sun", "fill_up", "fill_down", "fog_density", "lamp", "gloss"):
            program[name].value = getattr(lighting, name)
        program["fog_colour"].value = lighting.horizon
        program["eye_position"].value = tuple(float(v) for v in pose.eye_m)
        program["light_map"].value = 1
        for model, matrix in placed:
            _write_matrix(program, "model", matrix)
            for drawable in _in_sight(model, pose.view_matrix() @ matrix, camera):
                drawable.image.use(0)
                program["cut"].value = drawable.cut
                program["baked"].value = 0.0 if drawable.light_map is None else 1.0
                (drawable.light_map or drawable.image).use(1)
                drawable.colour_array.render()
        data = self._colour_target.read(components=3, dtype="f2", alignment=1)
        shape = (self.height_px * _SUPERSAMPLE, self.width_px * _SUPERSAMPLE, 3)
        big = np.nan_to_num(np.frombuffer(data, np.float16).reshape(shape)[::-1].astype(np.float32))
        small = cv2.resize(np.minimum(big, 4.0), (self.width_px, self.height_px), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.float32)

    def _draw_sky(self, pose: Pose, camera: PinholeCamera, lighting: Lighting) -> None:
        rotation = pose.view_matrix()
        rotation[:3, 3] = 0
        _write_matrix(self._sky, "ray_from_clip", np.linalg.inv(projection_matrix(camera) @ rotation))
        for name in ("horizon", "zenith", "cloud_cover", "cloud_offset", "sun_direction"):
            self._sky[name].value = getattr(lighting, name)
        self._sky["cloud_colour"].value = lighting.cloud
        self.context.disable(self._depth_test)
        self._sky_array.render()
        self.context.enable(self._depth_test)

    def _write_camera(self, program: Any, pose: Pose, camera: PinholeCamera) -> None:
        _write_matrix(program, "projection", projection_matrix(camera))
        _write_matrix(program, "view", pose.view_matrix())


def _seen_from_the_sun(
    shadows: Shadows, sun_direction: tuple[float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(4, 4) clip-from-sun without perspective, and sun-from-world; casters up to four radii towards the sun count."""
    back = np.array(sun_direction)
    right = np.cross((0.0, 1.0, 0.0) if abs(back[1]) < 0.95 else (1.0, 0.0, 0.0), back)
    right /= np.linalg.norm(right)
    view = np.eye(4)
    view[:3, :3] = np.stack((right, np.cross(back, right), back))
    view[:3, 3] = -view[:3, :3] @ shadows.centre_m
    near, far = -4 * shadows.radius_m, shadows.radius_m
    clip = np.diag((1 / shadows.radius_m, 1 / shadows.radius_m, -2 / (far - near), 1.0))
    clip[2, 3] = -(far + near) / (far - near)
    return clip, view


def _in_sight(model: GpuModel, eye_from_model: NDArray[np.float64], camera: PinholeCamera) -> Iterator[_Drawable]:
    return (drawable for drawable in model if drawable.sphere.may_be_seen(eye_from_model, camera))


def _write_matrix(program: Any, name: str, matrix: NDArray[np.floating]) -> None:
    program[name].write(np.asarray(matrix, dtype=np.float32).T.tobytes())


def _develop(linear: NDArray[np.float32], lighting: Lighting, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear light to sRGB as a camera does: exposed to a mean level, gamma, noise."""
    gain = lighting.target_level / max(float(linear.mean()), 1e-3)
    encoded = 255 * np.clip(linear * min(gain, 8.0), 0, 1) ** np.float32(1 / 2.2)
    encoded += rng.normal(0, lighting.noise, encoded.shape).astype(np.float32)
    return np.clip(encoded, 0, 255).astype(np.uint8)
