"""What of the ground one camera can see: of known height, or only where down is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.anchors import AnchorError
from depthnet_ros.metric_scale.cone import ConeAnchor, Reading
from depthnet_ros.metric_scale.ground import GroundPlane, GroundView


class GroundSight:
    """The ground plane, and its view by the present camera, made once for both.

    Attributes:
        plane: None where it is not known.
        note: why a declared plane cannot be seen in this image; empty if it can, or if the plane is not by parameters:
            a camera that TF turns up to the ceiling is in order.
        impossible: it was declared by parameters, and not a pixel of the image is below its horizon.
    """

    def __init__(self, plane: GroundPlane | None) -> None:
        self.plane = plane
        self.note, self.impossible, self._declared = "", False, True
        self._camera: PinholeCamera | None = None
        self._view: GroundView | None = None
        self._horizon: tuple[NDArray[np.float64], GroundView | None] | None = None

    def set_camera(self, camera: PinholeCamera) -> None:
        """The camera of the images from now on."""
        self._camera, self._horizon = camera, None
        self._look()

    def set_plane(self, plane: GroundPlane | None) -> None:
        """Another plane, or None: it is not known any more."""
        self.plane, self._declared = plane, False
        self._look()

    def view(self, down: NDArray[np.float64] | None) -> tuple[GroundView, bool] | None:
        """The view of the ground, and whether its height is known; ``down`` is by a level scanner, where there is one,
        and serves where no height is known.
        """
        if self._view is not None:
            return self._view, True
        if down is None or self._camera is None:
            return None
        if self._horizon is None or not np.array_equal(self._horizon[0], down):
            try:
                self._horizon = down, GroundView.of(GroundPlane(down, 1.0, height_sigma=0.0), self._camera)
            except AnchorError:  # the camera looks up
                self._horizon = down, None
        view = self._horizon[1]
        return None if view is None else (view, False)

    def before_floor(self, cone: ConeAnchor) -> ConeAnchor | None:
        """What a range finder says of all that stands before the floor, where that is known; None: nothing."""
        if self.plane is None or self._camera is None or cone.reading is Reading.NEARER:
            return cone
        return cone.before(self.plane.inverse_depth(cone.u_px, cone.v_px, self._camera))

    def _look(self) -> None:
        self._view, self.note, self.impossible = None, "", False
        if self.plane is None or self._camera is None:
            return
        try:
            self._view = GroundView.of(self.plane, self._camera)
        except AnchorError as error:
            self.note = str(error) if self._declared else ""
            corners = np.array((0.0, self._camera.width_px - 1.0)), np.full(2, self._camera.height_px - 1.0)
            self.impossible = self._declared and bool((self.plane.inverse_depth(*corners, self._camera) <= 0).all())
