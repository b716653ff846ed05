"""A recording in, a record of figures out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.pipeline import BagPipeline
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import Topics
from depthnet_ros.errors import BackendError, BagError
from depthnet_ros.evaluation.album import Album
from depthnet_ros.evaluation.results import Results
from depthnet_ros.evaluation.session import EvaluationSession, SessionOptions
from depthnet_ros.inference.estimator import DepthEstimator

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""


@dataclass(frozen=True)
class EvaluateOptions:
    """How to run a recording, what counts, and how many pictures of each kind to keep."""

    pipeline: PipelineOptions = field(default_factory=PipelineOptions)
    session: SessionOptions = field(default_factory=SessionOptions)
    pictures: int = 6


def evaluate_bag(
    bag: BagReader,
    topics: Topics,
    estimator: DepthEstimator,
    options: EvaluateOptions = EvaluateOptions(),
    progress: Progress | None = None,
) -> tuple[Results, Album]:
    """Run every image through estimator and metric scaler and compare it with the reference of its time.

    An interrupt (Ctrl-C) or a backend that fails ends it early: what was found by then is returned, marked incomplete.

    Raises:
        BagError: image and reference never met, or nothing could be compared.
    """
    total = bag.topic(topics.image).message_count
    session = EvaluationSession(options.session, options.pictures)
    pipeline = BagPipeline(bag, topics, estimator, options.pipeline)
    notes: list[str] = []
    complete, compared_none = True, 0
    try:
        for processed in pipeline:
            if not session.add(processed.frame) and processed.frame.reference_m is not None:
                compared_none += 1
            if progress is not None:
                progress(pipeline.tally.images, total)
    except KeyboardInterrupt:
        complete = False
        notes.append(f"interrupted after {pipeline.tally.processed} of {total} images")
    except BackendError as error:
        complete = False
        notes.append(f"stopped after {pipeline.tally.processed} of {total} images: {error}")
    limit_m = options.pipeline.scale.max_depth_m
    if np.isfinite(session.frames["metric.abs_rel"]).any() and options.session.max_depth_m > limit_m:
        notes.append(
            f"aligned figures are of depths to {options.session.max_depth_m:g} m, those in metres to {limit_m:g} m "
            "(scale.max_depth_m): compare the two with --max-depth alike"
        )
    if compared_none:
        depths = f"{options.session.min_depth_m:g} to {options.session.max_depth_m:g} m"
        notes.append(
            f"{compared_none} references had too few pixels within {depths}, or the network gave depth for too few"
        )
    if len(session.frames) and float(np.nanmedian(session.frames["aligned.scale"])) <= 0.0:
        notes.append("most predictions are the wrong way round (scale of the alignment below 0): check output_kind")
    if not len(session.frames):
        why = "; ".join([*notes, *bag.losses, *pipeline.tally.told()])
        raise BagError(f"{bag.path}: no frame could be compared. {why}")
    losses, tally = bag.losses, pipeline.tally
    results = Results(
        complete=complete and not losses and not tally.failed,
        source=_source(bag, topics, session),
        model=describe_model(estimator),
        settings=_settings(options),
        counts={
            "images": tally.images,
            "processed": tally.processed,
            "evaluated": len(session.frames),
            "without_reference": tally.without_reference,
            "failed": tally.failed,
        },
        figures=session.figures(tally.processed / (tally.processed + tally.failed)),
        objects=session.objects.to_dict(),
        notes=[*losses, *notes, *tally.told()],
        frames=session.frames,
    )
    return results, session.album


def _source(bag: BagReader, topics: Topics, session: EvaluationSession) -> dict[str, Any]:
    stamps = session.frames["stamp_s"]
    return {
        "recording": bag.path.name,
        "recording_bytes": bag.size_bytes,
        "image_topic": topics.image,
        "info_topic": topics.info,
        "reference_topic": topics.reference,
        "reference_kind": topics.reference_kind,
        "anchors": dict(topics.anchors),
        "first_stamp_s": float(stamps.min()),
        "last_stamp_s": float(stamps.max()),
    }


def describe_model(estimator: DepthEstimator) -> dict[str, Any]:
    """Network, provenance of its weights, and what it ran on."""
    backend, spec = estimator.backend, estimator.spec
    return {
        **spec.to_dict(),
        "weights": estimator.name,
        "backend": backend.name,
        "device": backend.device,
        "precision": backend.precision,
    }


def _settings(options: EvaluateOptions) -> Mapping[str, Any]:
    pipeline = asdict(options.pipeline)
    session = asdict(options.session)
    return {**pipeline, **session}
