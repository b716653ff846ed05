"""A recording with the depth topics of the node added, for RViz, Foxglove and planners to replay."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from depthnet_ros.bags import messages
from depthnet_ros.bags.evaluate import Progress
from depthnet_ros.bags.options import PipelineOptions, Tally
from depthnet_ros.bags.pipeline import BagPipeline, Processed
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.sources import Raw
from depthnet_ros.bags.topics import Topics
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import BagError
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.parameters import TOPIC_PREFIX

INVERSE_DEPTH, DEPTH, DEPTH_INFO = "inverse_depth/image", "depth/image_rect", "depth/camera_info"
"""Added topics, named as the node names them."""


@dataclass(frozen=True)
class Annotated:
    """What became of a copy.

    Attributes:
        added: how many messages each added topic got.
        left_out: what a ROS 2 recording cannot hold, and why.
        losses: what could not be read, for depth or for the copy, as :attr:`BagReader.losses`.
        tally: what became of the images.
    """

    added: dict[str, int]
    left_out: list[str]
    losses: list[str]
    tally: Tally


def annotate_bag(
    bag: BagReader,
    topics: Topics,
    estimator: DepthEstimator,
    out: Path,
    options: PipelineOptions,
    prefix: str = "/depthnet",
    encoding: str = "32FC1",
    progress: Progress | None = None,
) -> Annotated:
    """Copy every message as it is, if a ROS 2 recording can hold it; add depth with the image's stamp, frame and time.

    Relative inverse depth is added for every image; depth in metres (``encoding``: 32FC1 or 16UC1) and its camera_info
    where the node would publish them. The copy is read a second time while depth is computed.

    Raises:
        BagError: an added topic exists already or is no name, the recording is of ROS 1, or the disk is full.
    """
    prefix = prefix.rstrip("/")
    if prefix and not (prefix.startswith("/") and TOPIC_PREFIX.fullmatch(prefix)):
        raise BagError(
            f"--prefix {prefix!r} cannot begin a topic's name (/, then letters, digits and _, a letter first)"
        )
    names = [f"{prefix}/{name}" for name in (INVERSE_DEPTH, DEPTH, DEPTH_INFO)]
    if taken := [name for name in names if name in bag.topics]:
        raise BagError(f"{bag.path} has {', '.join(taken)} already: choose another --prefix")
    if bag.is_ros1:
        raise BagError(f"{bag.path} is of ROS 1, and a copy of it would be too: run rosbags-convert on it first")
    total = bag.topic(topics.image).message_count
    pipeline = BagPipeline(bag, topics, estimator, replace(options, base_frame=""))
    added: Counter[str] = Counter()
    refused = BagWriter.refusals(bag.channels)
    with BagReader(bag.path) as copy, BagWriter(out, compression="zstd") as writer:
        entries: Iterator[Raw | Processed] = heapq.merge(copy.raw(list(copy.topics)), pipeline, key=_time_ns)
        for entry in entries:
            if isinstance(entry, tuple):
                if entry[0] not in refused:
                    writer.copy(*entry)
                continue
            for topic, message in _messages(entry, names, encoding):
                writer.write(topic, message, entry.time_ns)
                added[topic] += 1
            if progress is not None:
                progress(pipeline.tally.images, total)
        losses = list(dict.fromkeys([*bag.losses, *copy.losses]))  # topics that no depth comes from show in the copy
    return Annotated(dict(added), list(refused.values()), losses, pipeline.tally)


def _time_ns(entry: Raw | Processed) -> int:
    return entry[1] if isinstance(entry, tuple) else entry.time_ns


def _messages(item: Processed, names: list[str], encoding: str) -> Iterator[tuple[str, Any]]:
    frame = item.frame
    identifier = item.message.header.frame_id
    inverse_name, depth_name, info_name = names
    yield inverse_name, messages.image(frame.prediction.at_source(), "32FC1", frame.stamp_ns, identifier)
    if frame.metric is None or not frame.metric.published or frame.camera is None:
        return
    depth_m = frame.metric.depth_m(*frame.rgb.shape[:2])
    if frame.valid_mask is not None:
        depth_m = np.where(frame.valid_mask, depth_m, np.float32(np.nan))
    yield depth_name, messages.depth_image(depth_m, encoding, frame.stamp_ns, identifier)
    yield info_name, messages.camera_info(frame.camera, frame.stamp_ns, identifier)
