"""What becomes of a network's raw output, by its kind; and of output that cannot be depth."""

from dataclasses import replace

import numpy as np
import pytest

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.postprocess import DepthPrediction, decode, with_mirror
from depthnet_ros.inference.preprocess import shrink_by_blocks
from depthnet_ros.models.spec import InputSpec, ModelSpec, OutputKind

DEPTH = [OutputKind.DEPTH, OutputKind.METRIC_DEPTH]


def spec(kind):
    return ModelSpec("any", InputSpec(2, 2), kind)


@pytest.mark.parametrize("kind", DEPTH)
def test_depth_that_is_not_positive_is_unknown_and_counted(kind):
    made = decode(np.array([[[2.0, 0.0], [-1.0, 4.0]]], np.float32), spec(kind), (2, 2))
    np.testing.assert_array_equal(made.inverse_depth, [[0.5, np.nan], [np.nan, 0.25]])
    assert made.unknown_share == 0.5
    assert made.metric is (kind is OutputKind.METRIC_DEPTH)


@pytest.mark.parametrize("kind", DEPTH)
def test_depth_that_is_nowhere_positive_is_an_error(kind):
    with pytest.raises(BackendError, match=r"nowhere positive.*inverse_depth"):
        decode(np.array([[[-2.0, -3.0], [-1.0, 0.0]]], np.float32), spec(kind), (2, 2))


def test_relative_inverse_depth_may_have_any_sign():
    raw = np.array([[[2.0, 0.0], [-1.0, 4.0]]], np.float32)
    made = decode(raw, spec(OutputKind.INVERSE_DEPTH), (2, 2))
    np.testing.assert_array_equal(made.inverse_depth, raw[0])
    assert made.unknown_share == 0.0


@pytest.mark.parametrize(("bad", "message"), [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity")])
def test_not_finite_is_an_error(bad, message):
    with pytest.raises(BackendError, match=message):
        decode(np.array([[[2.0, bad], [1.0, 4.0]]], np.float32), spec(OutputKind.INVERSE_DEPTH), (2, 2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_log_sigma_that_is_not_finite_is_an_error(bad):
    both = ModelSpec("any", InputSpec(2, 2), log_sigma=True)
    raw = np.array([[[2.0, 3.0], [1.0, 4.0]], [[0.0, bad], [0.0, 0.0]]], np.float32)
    with pytest.raises(BackendError, match="log_sigma is NaN or infinity"):
        decode(raw, both, (2, 2))


def test_one_number_everywhere_is_an_error():
    with pytest.raises(BackendError, match=r"for every pixel: is the image black .*lens cap"):
        decode(np.full((1, 2, 2), 3.0, np.float32), spec(OutputKind.INVERSE_DEPTH), (2, 2))


def test_what_is_changed_of_a_prediction_is_not_answered_from_the_old_one():
    made = DepthPrediction(np.ones((2, 2), np.float32), (4, 4))
    assert (made.at_source() == 1.0).all()
    assert (replace(made, inverse_depth=np.full((2, 2), 5.0, np.float32)).at_source() == 5.0).all()


def two_sides(metric=False, log_sigma=None):
    """Two predictions of one scene, the second of its mirror image and in another unit, each with its own error."""
    rng = np.random.default_rng(2)
    truth = rng.random((20, 30)).astype(np.float32) + 0.5
    errors = 0.1 * rng.standard_normal((2, 20, 30)).astype(np.float32)
    unit, shift = (1.0, 0.0) if metric else (3.0, -2.0)
    second = (truth + errors[1])[:, ::-1] * np.float32(unit) + np.float32(shift)
    sigmas = (None, None) if log_sigma is None else (np.full_like(truth, s) for s in log_sigma)
    own, other = (
        DepthPrediction(value, (40, 60), log_sigma=sigma, metric=metric)
        for value, sigma in zip((truth + errors[0], second), sigmas, strict=True)
    )
    return truth, own, other


@pytest.mark.parametrize("metric", [False, True])
def test_the_mean_with_the_mirror_image_is_in_the_first_ones_unit_and_errs_less(metric):
    truth, own, other = two_sides(metric)
    own.at_source()  # what is remembered of the first must not be taken for the mean's
    mean = with_mirror(own, other)
    assert np.abs(mean.inverse_depth - truth).mean() < 0.8 * np.abs(own.inverse_depth - truth).mean()
    assert mean.at_source().shape == (40, 60) and mean.metric is metric
    assert np.abs(mean.at_source() - own.at_source()).max() > 0.01


def test_a_pixel_that_one_side_knows_is_that_ones():
    _, own, other = two_sides(metric=True)
    own.inverse_depth[3, 4] = own.inverse_depth[5, 6] = other.inverse_depth[5, 29 - 6] = np.nan
    mean = with_mirror(own, other)
    assert mean.inverse_depth[3, 4] == other.inverse_depth[3, 29 - 4]
    assert np.isnan(mean.inverse_depth[5, 6]) and mean.unknown_share == pytest.approx(1 / 600)


def test_sigma_of_the_mirror_image_is_in_the_first_ones_unit_too():
    _, own, other = two_sides(log_sigma=(-2.0, -2.0 + np.log(3.0)))
    np.testing.assert_allclose(with_mirror(own, other).log_sigma, -2.0, atol=0.1)


def test_a_mirror_image_that_contradicts_counts_nothing():
    own = DepthPrediction(np.array([[1.0, 2.0, 3.0]], np.float32), (1, 3))
    mean = with_mirror(own, DepthPrediction(np.array([[1.0, 2.0, 3.0]], np.float32), (1, 3)))
    np.testing.assert_array_equal(mean.inverse_depth, own.inverse_depth)


def test_the_mean_keeps_contrast_and_a_zero_that_means_something():
    truth, own, other = two_sides()
    spread = with_mirror(own, other).inverse_depth.std()
    assert 0.95 * truth.std() < spread < 1.05 * own.inverse_depth.std()
    proportional = replace(other, inverse_depth=other.inverse_depth + 2.0, zero_sigma=0.3)  # 3 times the truth
    mean = with_mirror(replace(own, zero_sigma=0.3), proportional).inverse_depth
    gain, level = np.polyfit(truth.ravel(), mean.ravel(), 1)
    assert gain == pytest.approx(1.0, abs=0.03) and level == pytest.approx(0.0, abs=0.03)


def test_a_mean_below_zero_is_no_measure_of_a_network_s_unit():
    """Though its zero should be infinity: most of a picture may lie beyond it."""
    truth, own, other = two_sides()
    own, other = (
        replace(one, inverse_depth=one.inverse_depth - np.float32(6.0), zero_sigma=0.3) for one in (own, other)
    )
    mean = with_mirror(own, other).inverse_depth + 6.0
    assert np.abs(mean - truth).mean() < 0.8 * np.abs(own.inverse_depth + 6.0 - truth).mean()


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_colours_on_another_grid_do_not_depend_on_how_the_image_was_shrunk(blocks):
    image = np.random.default_rng(4).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    made = decode(np.arange(12, dtype=np.float32).reshape(1, 3, 4), spec(OutputKind.INVERSE_DEPTH), (36, 48))
    plain = [made.colours_at(image, *size) for size in ((18, 24), (12, 16), (9, 12), (36, 48))]
    made = replace(made, block_averaged=shrink_by_blocks(image, (36 // blocks, 48 // blocks)))
    for want in plain:
        np.testing.assert_array_equal(made.colours_at(image, *want.shape[:2]), want)
    assert plain[-1] is image


def test_what_the_specification_says_goes_with_the_depth():
    """A network of several channels of depth is their mean; its zero is worth what its file says."""
    raw = np.array([[[2.0, 0.0], [1.0, 4.0]], [[4.0, 2.0], [1.0, 6.0]]], np.float32)
    made = decode(raw, replace(spec(OutputKind.INVERSE_DEPTH), zero_sigma=0.3), (2, 2))
    np.testing.assert_array_equal(made.inverse_depth, [[3.0, 1.0], [1.0, 5.0]])
    assert made.zero_sigma == 0.3
