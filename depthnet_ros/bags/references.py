"""Reference depth of each image, from whatever the recording has: depth images, clouds or scans."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.bags.camera import BagCamera, registration_doubt
from depthnet_ros.bags.options import PipelineOptions, Tally
from depthnet_ros.bags.pairing import DISORDER_NS, PATIENCE_NS, NearestInTime, Stamped
from depthnet_ros.bags.topics import Topics
from depthnet_ros.bags.transforms import TransformTree
from depthnet_ros.errors import BagError, DepthNetError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.messages.measurements import (
    depth_from_compressed,
    depth_from_image,
    depth_from_points,
    points_from_cloud,
    points_from_scan,
)

_GONE_KEPT = 1000


class References:
    """Finds an image's reference and reads it; one that cannot be used is a fault of the tally."""

    def __init__(
        self,
        near: NearestInTime | None,
        topics: Topics,
        options: PipelineOptions,
        tree: TransformTree,
        camera: BagCamera,
        tally: Tally,
    ) -> None:
        """``near``: the messages of the reference's topic as they come; None where there is no such topic."""
        self._near, self._kind, self._options = near, topics.reference_kind, options
        self._tree, self._camera, self._tally = tree, camera, tally
        self._gone: deque[int] = deque(maxlen=_GONE_KEPT)
        """Stamps of images that found none."""
        moves = any(not name.endswith("/tf_static") for name in topics.tf)
        self._through_moving_tf = self._kind in ("points", "scan") and options.extrinsic is None and moves

    def hear(self, reference: Stamped) -> None:
        """A message of the reference's topic as it comes: too late for an image that is gone is a fault."""
        tolerance_ns = round(self._options.tolerance_s * 1e9)
        missed = [stamp for stamp in self._gone if abs(stamp - reference.stamp_ns) <= tolerance_ns]
        for stamp in missed:
            self._gone.remove(stamp)
            self._tally.fault(
                f"reference recorded after its image was gone: images wait {1e-9 * PATIENCE_NS:g} s of recording, and "
                f"not beyond references stamped {1e-9 * DISORDER_NS:g} s later"
            )

    def forget(self) -> None:
        """Time ran back."""
        self._gone.clear()

    def placed(self, image: Stamped) -> bool:
        """Whether TF has come to the image's stamp between it and its reference, if it has one that TF must place."""
        if not self._through_moving_tf or (found := self._nearest(image)) is None:
            return True
        until_ns = self._tree.known_until_ns(image.message.header.frame_id, found.message.header.frame_id)
        return until_ns is not None and until_ns >= image.stamp_ns

    def read(self, image: Stamped, camera: PinholeCamera | None) -> tuple[NDArray[np.float32] | None, float]:
        """(h, w) metres as :class:`~depthnet_ros.evaluation.frame.Frame` has them, and how much later than the image
        they are stamped, in seconds; None where none met it or it cannot be used.
        """
        found = self._nearest(image)
        if found is None:
            self._gone.append(image.stamp_ns)
            return None, 0.0
        gap_s = 1e-9 * (found.stamp_ns - image.stamp_ns)
        try:
            depth_m = self._depth(found.message, image, camera)
        except DepthNetError as error:
            self._tally.fault(f"reference not used: {error}")
            return None, gap_s
        if self._kind == "depth" and not self._options.reference_rectified:
            depth_m = self._camera.rectified_depth(depth_m)
        return depth_m, gap_s

    def _nearest(self, image: Stamped) -> Stamped | None:
        tolerance_ns = round(self._options.tolerance_s * 1e9)
        return None if self._near is None else self._near.nearest(image.stamp_ns, tolerance_ns)

    def _depth(self, message: Any, image: Stamped, camera: PinholeCamera | None) -> NDArray[np.float32]:
        if self._kind == "depth":
            raw = hasattr(message, "encoding")
            read = depth_from_image if raw else depth_from_compressed
            depth_m = read(message, self._options.reference_unit_m)
            if doubt := registration_doubt(message, image.message, depth_m.shape):
                self._tally.fault(doubt)
            return depth_m
        if camera is None:
            raise BagError(
                f"a reference of kind {self._kind} needs camera_info (--info) or --intrinsics to meet the image"
            )
        pose = self._options.extrinsic
        if pose is None:
            frames = image.message.header.frame_id, message.header.frame_id
            pose = self._tree.lookup(*frames, image.stamp_ns, remedy="give --extrinsic")
        points = points_from_cloud(message) if self._kind == "points" else points_from_scan(message)
        return depth_from_points(points, camera, pose)
