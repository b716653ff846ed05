"""A recording through the same estimator and metric scaler as the node's, frame by frame, at full speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from depthnet_ros.bags.anchors import AnchorFeed
from depthnet_ros.bags.boxes import KittiLabels, boxes_from_detections
from depthnet_ros.bags.camera import BagCamera
from depthnet_ros.bags.ground import Ground
from depthnet_ros.bags.options import PipelineOptions, Tally
from depthnet_ros.bags.pairing import DISORDER_NS, JUMP_NS, NearestInTime, Stamped, WaitingImages
from depthnet_ros.bags.reader import BagMessage, BagReader
from depthnet_ros.bags.references import References
from depthnet_ros.bags.topics import Topics
from depthnet_ros.bags.transforms import TransformTree
from depthnet_ros.errors import BackendError, BagError, DepthNetError, ImageError, NetworkOutputError
from depthnet_ros.evaluation.frame import Frame
from depthnet_ros.evaluation.objects import Box
from depthnet_ros.geometry.calibration import read_calibration
from depthnet_ros.geometry.rectify import ImageView
from depthnet_ros.imaging import message_to_rgb
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.messages.stamps import header_stamp_ns
from depthnet_ros.metric_scale import MetricDepth, MetricScaler, ScaleMode, ScaleState
from depthnet_ros.metric_scale.answer import without_metres

_INFO_REACH_NS = 1_000_000_000
_STATIC = "/tf_static"  # with a namespace or without
_STAMPLESS = 100
_DEAD_OUTPUTS = 30


@dataclass(frozen=True)
class Processed:
    """A frame with the message it came from."""

    frame: Frame
    message: Any
    time_ns: int


class BagPipeline:
    """Iterate over it once: every image of the recording in order, with depth and with its reference if one met it."""

    def __init__(self, bag: BagReader, topics: Topics, estimator: DepthEstimator, options: PipelineOptions) -> None:
        self.tally = Tally()
        self._bag, self._topics, self._estimator, self._options = bag, topics, estimator, options
        self._tree = TransformTree()
        self._scaler = MetricScaler(options.scale)
        self._near = {name: NearestInTime() for name in (topics.info, topics.reference, topics.boxes) if name}
        file = options.camera_info_file
        self._calibration = read_calibration(file).as_message() if file else None
        self._camera = BagCamera(options.rectify, options.intrinsics, topics.image)
        self._references = References(
            self._near.get(topics.reference), topics, options, self._tree, self._camera, self.tally
        )
        self._ground = Ground(self._scaler, self._tree, options, self.tally)
        self._anchors = AnchorFeed(topics.anchors, options.scale, self._tree, self.tally, self._camera.rectified_depth)
        self._waiting = WaitingImages([*self._near.values(), *self._anchors.heard.values()], self._references.placed)
        self._published = 0
        self._last_ns = 0
        self._last_info: Any = None
        self._heard_info: Any = None
        self._last_metric: MetricDepth | None = None
        self._images = NearestInTime()
        self._expected = bag.topic(topics.image).message_count
        self._stampless = self._dead_outputs = 0
        self._labels = None if options.labels is None else KittiLabels(options.labels, self._expected)

    def __iter__(self) -> Iterator[Processed]:
        """Raises BackendError if the network cannot go on, BagError if nothing of use is in the recording."""
        now_ns = 0
        self._read_static_transforms()
        for item in self._bag.messages(self._topics.names()):
            if item.topic == self._topics.image and self._has_no_stamp(item):
                continue
            if item.topic == self._topics.image and self._runs_back(item):
                for image in self._waiting.ready(now_ns, finished=True):
                    yield from self._run(image)
                self._forget(header_stamp_ns(item.message))
            now_ns = item.time_ns
            self._take(item)
            for image in self._waiting.ready(now_ns):
                yield from self._run(image)
        for image in self._waiting.ready(now_ns, finished=True):
            yield from self._run(image)
        if self._waiting.hurried:
            self.tally.conclude(
                f"{self._waiting.hurried} images could not wait for what was recorded after them: too large"
            )
        self._check_meeting()
        self._anchors.report_unused()
        self._conclude_why_no_metres()

    def _read_static_transforms(self) -> None:
        """They hold for all of the recording, whenever the recorder came to know them."""
        if static := [topic for topic in self._topics.tf if topic.endswith(_STATIC)]:
            for item in self._bag.messages(static):
                self._add_transforms(item.message, static=True)

    def _add_transforms(self, message: Any, static: bool) -> None:
        for problem in self._tree.add(message, static):
            self.tally.fault(f"transform left out: {problem}")

    def _has_no_stamp(self, item: BagMessage) -> bool:
        """An image whose stamp is 0, as a simulation's first may be, is left out; BagError where all of many are so."""
        if header_stamp_ns(item.message) != 0:
            return False
        self.tally.images += 1
        self._stampless += 1
        self._left_out(ImageError("its stamp is 0"))
        if self._stampless == self.tally.images == min(_STAMPLESS, self._expected):
            raise BagError(
                f"the images on {item.topic} have no stamps (0): they cannot be brought together with what belongs to "
                "them; let the driver set header.stamp, and record again"
            )
        return True

    def _runs_back(self, item: BagMessage) -> bool:
        """Whether an image's clock has jumped: set by NTP, or a simulation started anew."""
        return header_stamp_ns(item.message) < self._last_ns - JUMP_NS

    def _forget(self, stamp: int) -> None:
        self.tally.fault(f"time ran back by {1e-9 * (self._last_ns - stamp):.1f} s: what was before counts no more")
        self._last_ns = 0
        for near in self._near.values():
            near.clear(stamp)
        self._anchors.forget(stamp)
        self._references.forget()
        self._tree.forget_moving()
        self._scaler.reset()

    def _conclude_why_no_metres(self) -> None:
        """Metres were asked for, and none came."""
        scale = self._options.scale
        if scale.scale_mode is not ScaleMode.ANCHORS:
            return
        for source in set(scale.sources) - self._topics.anchors.keys():
            self.tally.conclude(f"scale.sources names {source}, but no --anchor {source}=TOPIC says where it is")
        if (last := self._last_metric) is not None and not self._published:
            why = "; ".join((last.message, *(trouble for trouble in last.troubles if trouble not in last.message)))
            self.tally.conclude(f"no frame had metric depth; at the end: {last.state.value}: {why}")

    def _take(self, item: BagMessage) -> None:
        topic, time_ns, message = item
        if topic in self._topics.tf:
            if not topic.endswith(_STATIC):
                self._add_transforms(message, static=False)
            return
        stamped = Stamped(header_stamp_ns(message), time_ns, message)
        if topic in self._near and not self._near[topic].add(stamped):
            self.tally.fault(f"stamps on {topic} ran ahead and came back: what was stamped ahead is left out")
        if topic == self._topics.reference:
            self._references.hear(stamped)
        if topic == self._topics.info:
            self._heard_info = message
        self._anchors.take(topic, stamped)
        if topic == self._topics.image:
            stamped.index = self.tally.images
            self.tally.images += 1
            self._last_ns = max(self._last_ns, stamped.stamp_ns)
            self._images.add(replace(stamped, message=None))
            self._waiting.add(stamped)

    def _run(self, image: Stamped) -> Iterator[Processed]:
        try:
            frame = self._process(image)
        except BackendError as error:
            if not isinstance(error, NetworkOutputError):
                raise
            self._left_out(error)
            self._dead_outputs += 1
            if self.tally.processed == 0 and self._dead_outputs >= _DEAD_OUTPUTS:  # not the picture: the network
                raise
            return
        except DepthNetError as error:
            self._left_out(error)
            return
        self.tally.processed += 1
        for name in (self._topics.reference, self._topics.boxes):
            if name:  # depth images are large: none is kept that no later image can meet
                reach_ns = round(self._options.tolerance_s * 1e9) + DISORDER_NS
                self._near[name].forget_before(image.stamp_ns - reach_ns)
        if self._topics.reference and frame.reference_m is None:
            self.tally.without_reference += 1
        yield Processed(frame, image.message, image.time_ns)

    def _left_out(self, error: Exception) -> None:
        self.tally.failed += 1
        self.tally.fault(f"image not used: {error}")

    def _process(self, image: Stamped) -> Frame:
        start = time.perf_counter()
        view = self._camera.view(message_to_rgb(image.message), self._info(image))
        rgb, camera, camera_frame = view.rgb, view.camera, image.message.header.frame_id
        if view.note:
            self.tally.fault(view.note)
        decoded = time.perf_counter()
        prediction = self._estimator.infer(rgb)
        inferred = time.perf_counter()
        metric = self._scale(image, view, prediction)
        scaled = time.perf_counter()
        self._published += metric.published
        self._last_metric = metric
        stages = {"decode": decoded - start, **prediction.stage_s, "scale": scaled - inferred}
        reference, gap_s = self._references.read(image, camera)
        return Frame(
            image.stamp_ns,
            rgb,
            prediction,
            metric,
            camera,
            reference,
            gap_s,
            stages,
            level_from_optical=self._ground.levelled_from_optical(camera_frame, image.stamp_ns),
            boxes=self._boxes(image),
            valid_mask=view.valid_mask,
            metres_asked=prediction.metric or self._options.scale.scale_mode is not ScaleMode.NONE,
        )

    def _scale(self, image: Stamped, view: ImageView, prediction: DepthPrediction) -> MetricDepth:
        """As the node does it, but for modes that need no intrinsics: those give metres without any."""
        if view.camera is not None:
            self._scaler.set_camera(view.camera)
            self._ground.update(image.message.header.frame_id, image.stamp_ns)
        self._anchors.give(image, view.camera, self._scaler)
        scale = self._options.scale
        if view.camera is None and scale.scale_mode is ScaleMode.ANCHORS:  # those of the images before may not hold
            return without_metres(scale, ScaleState.UNCALIBRATED, "no usable camera_info came with the image")
        return self._scaler.update(prediction, 1e-9 * image.stamp_ns, view.rgb, view.valid_mask)

    def _boxes(self, image: Stamped) -> tuple[Box, ...]:
        if self._labels is not None:
            return self._labels.boxes(image.index)
        found = self._nearest(self._topics.boxes, image.stamp_ns)
        return () if found is None else boxes_from_detections(found.message)

    def _info(self, image: Stamped) -> Any:
        """The calibration that is given for all images; else the camera_info of the image's stamp, else the nearest,
        else the last one there was, which is said.
        """
        if self._calibration is not None:
            return self._calibration
        if not self._topics.info:
            return None
        exact = self._nearest(self._topics.info, image.stamp_ns, 0)
        near = exact or self._nearest(self._topics.info, image.stamp_ns, _INFO_REACH_NS)
        if near is not None:
            self._last_info = near.message
        elif self._last_info is None:  # one that was published once, long before
            self._last_info = self._heard_info
        if exact is None:
            fate = "there is none" if self._last_info is None else "the nearest is used"
            self.tally.fault(f"no camera_info with the image's stamp: {fate}")
        return self._last_info

    def _nearest(self, topic: str, stamp: int, tolerance_ns: int | None = None) -> Stamped | None:
        if not topic:
            return None
        limit = round(self._options.tolerance_s * 1e9) if tolerance_ns is None else tolerance_ns
        return self._near[topic].nearest(stamp, limit)

    def _check_meeting(self) -> None:
        """Image and reference that never met: say how far apart they are."""
        if not self._topics.reference or self.tally.processed > self.tally.without_reference:
            return
        reference, images = self._near[self._topics.reference], self._images
        raise BagError(
            f"no reference on {self._topics.reference} could be used with an image on {self._topics.image}. "
            f"Stamps of images: {images.span_text}; of references: {reference.span_text}; "
            f"tolerance {self._options.tolerance_s} s (--tolerance). "
            f"{'; '.join([*self._bag.losses, *self.tally.first_faults])}"
        )
