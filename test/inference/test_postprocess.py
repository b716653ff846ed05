"""What becomes of a network's raw output, by its kind; and of output that cannot be depth."""

import numpy as np
import pytest

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.postprocess import decode
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
    with pytest.raises(BackendError, match=r"for every pixel: is the picture black .*lens cap"):
        decode(np.full((1, 2, 2), 3.0, np.float32), spec(OutputKind.INVERSE_DEPTH), (2, 2))


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_colours_on_another_grid_do_not_depend_on_how_the_image_was_shrunk(blocks):
    image = np.random.default_rng(4).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    made = decode(np.arange(12, dtype=np.float32).reshape(1, 3, 4), spec(OutputKind.INVERSE_DEPTH), (36, 48))
    plain = [made.colours_at(image, *size) for size in ((18, 24), (12, 16), (9, 12), (36, 48))]
    made.half_way = shrink_by_blocks(image, (36 // blocks, 48 // blocks))
    for want in plain:
        np.testing.assert_array_equal(made.colours_at(image, *want.shape[:2]), want)
    assert plain[-1] is image
