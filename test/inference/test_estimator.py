"""Several images in one pass: what is wrong with one is not wrong with the others."""

import numpy as np
import pytest

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends.base import ChoiceReason
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.models.spec import InputSpec, ModelSpec

PICTURE = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
COVERED = np.zeros((32, 48, 3), np.uint8)
WIDE = np.random.default_rng(1).integers(0, 255, (32, 192, 3), dtype=np.uint8)


class Brightness:
    """A network that gives the mean of the channels; ``breaks`` for a batch of that width."""

    name = device = "brightness"
    precision, choice_reason = "float32", ChoiceReason()

    def __init__(self, breaks: int = 0) -> None:
        self.breaks = breaks

    def infer(self, batch):
        if batch.shape[-1] == self.breaks:
            raise BackendError("out of memory")
        return batch.mean(axis=1, keepdims=True)

    def close(self) -> None:
        pass


def estimator(breaks: int = 0) -> DepthEstimator:
    return DepthEstimator(Brightness(breaks), ModelSpec("brightness", InputSpec(64, 96, keep_aspect=True)))


def test_a_covered_lens_leaves_the_other_cameras_their_depth():
    outcomes = estimator().infer_each([PICTURE, COVERED, PICTURE])
    assert [isinstance(outcome, DepthPrediction) for outcome in outcomes] == [True, False, True]
    assert "lens cap" in str(outcomes[1])
    np.testing.assert_array_equal(outcomes[0].inverse_depth, outcomes[2].inverse_depth)
    assert outcomes[2].stage_s.keys() == {"preprocess", "network", "postprocess"}
    with pytest.raises(BackendError, match="lens cap"):
        estimator().infer_batch([PICTURE, COVERED])


def test_a_pass_that_fails_takes_its_own_images_only():
    network = estimator()
    width = network.spec.input.size_for(*WIDE.shape[:2])[1]
    outcomes = estimator(breaks=width).infer_each([WIDE, PICTURE, WIDE])
    assert outcomes[0] is outcomes[2]
    assert "out of memory" in str(outcomes[0])
    assert isinstance(outcomes[1], DepthPrediction)


def test_each_image_of_a_pass_is_its_own_on_the_way_to_the_network():
    """What colours a cloud, and shows the temporal filter the camera's motion."""
    large = [np.kron(picture, np.ones((4, 4, 1), np.uint8)) for picture in (PICTURE, PICTURE[::-1].copy())]
    network = estimator()
    alone = [network.infer(picture).block_averaged for picture in large]
    together = [made.block_averaged for made in network.infer_batch(large)]
    for one, other in zip(alone, together, strict=True):
        assert one is not None and other is not None
        np.testing.assert_array_equal(one, other)
    assert (together[0] != together[1]).any()


def test_an_image_with_its_mirror_tells_its_time_and_what_was_wrong():
    large = np.kron(PICTURE, np.ones((4, 4, 1), np.uint8))
    network = estimator()
    both = network.infer_with_mirror(large)
    assert both.stage_s.keys() == {"preprocess", "network", "postprocess"}
    np.testing.assert_array_equal(both.block_averaged, network.infer(large).block_averaged)
    with pytest.raises(BackendError, match="lens cap"):
        network.infer_with_mirror(COVERED)


def test_a_smaller_input_area_is_what_the_network_then_gets():
    network = estimator()
    whole = network.infer(PICTURE).inverse_depth.size
    network.set_input_area(0.25)
    assert network.infer(PICTURE).inverse_depth.size < whole // 2


def test_an_input_area_is_of_the_network_s_own_size_whatever_it_was_before():
    once, after_others = estimator(), estimator()
    once.set_input_area(0.5)
    for area in (0.35, 0.7, 0.5):
        after_others.set_input_area(area)
    assert once.infer(PICTURE).inverse_depth.shape == after_others.infer(PICTURE).inverse_depth.shape
    after_others.set_input_area(1.0)
    assert after_others.infer(PICTURE).inverse_depth.shape == estimator().infer(PICTURE).inverse_depth.shape


class LeftIsNear(Brightness):
    """A network that has the left of whatever it sees nearer than the right, and says so of its sigma, too."""

    def infer(self, batch):
        width = batch.shape[-1]
        depth = batch.mean(axis=1) + np.linspace(0.1, 0.0, width, dtype=np.float32)
        sigma = np.broadcast_to(np.linspace(0.0, -1.0, width, dtype=np.float32), depth.shape)
        return np.stack((depth, sigma), axis=1)


def test_what_a_network_has_on_one_side_falls_out_of_the_mean_with_its_mirror_image():
    spec = ModelSpec("left", InputSpec(64, 96, keep_aspect=True), log_sigma=True, zero_sigma=0.1)
    network = DepthEstimator(LeftIsNear(), spec)
    alone, mean, wanted = network.infer(PICTURE), network.infer_with_mirror(PICTURE), estimator().infer(PICTURE)
    assert np.abs(alone.inverse_depth - wanted.inverse_depth - 0.05).max() > 0.04
    np.testing.assert_allclose(mean.inverse_depth, wanted.inverse_depth + 0.05, atol=2e-3)
    np.testing.assert_allclose(mean.log_sigma, -0.5, atol=2e-3)
    assert mean.source_size == PICTURE.shape[:2]
    np.testing.assert_array_equal(mean.block_averaged, alone.block_averaged)


def test_shapes_that_will_be_needed_are_tried_before_they_are():
    network = estimator()
    seen = []
    network.backend.infer = lambda batch: seen.append(batch.shape)
    sizes = [PICTURE.shape[:2], WIDE.shape[:2], PICTURE.shape[:2]]
    network.warm_up(1.0, sizes)
    assert sorted(seen) == [(1, 3, 32, 192), (1, 3, 64, 96), (2, 3, 64, 96)]
    seen.clear()
    network.warm_up(0.5, sizes)  # where both are of one shape
    assert sorted(seen) == [(1, 3, 32, 64), (3, 3, 32, 64)]
