"""How images shrink to the network's size: close to averaging over areas, without aliasing, at any size."""

import cv2
import numpy as np
import pytest

from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.preprocess import resize_to_input, shrink_by_blocks
from depthnet_ros.models.spec import InputSpec

SPEC = InputSpec(224, 288, keep_aspect=True)


def smooth_picture(height, width):
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "size", [(480, 640), (720, 1280), (1080, 1920), (481, 641), (240, 320), (344, 464), (120, 160)]
)
def test_smooth_pictures_look_as_if_averaged(size):
    image = smooth_picture(*size)
    got = resize_to_input(image, SPEC)
    height, width = SPEC.size_for(*size)
    assert got.shape == (height, width, 3)
    want = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if height < size[0] else cv2.INTER_LINEAR)
    assert np.abs(got.astype(int) - want).mean() < 1.5


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (960, 1280), (1080, 1920), (481, 641), (1201, 1601)])
def test_a_fine_checkerboard_becomes_grey(size):
    """The finest pattern there is: whatever picks single pixels shows bars of black and white."""
    rows, columns = np.indices(size)
    image = np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    inner = resize_to_input(image, SPEC)[4:-4, 4:-4]
    assert np.abs(inner.astype(float) - 127.5).max() < 50


def test_the_right_size_is_no_copy():
    image = smooth_picture(224, 288)
    assert resize_to_input(image, SPEC) is image


def test_exact_halves_are_block_means():
    image = np.random.default_rng(1).integers(0, 256, (448, 576, 3), dtype=np.uint8)
    want = image.reshape(224, 2, 288, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize_to_input(image, SPEC) - want).max() <= 0.5


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (481, 641), (120, 160)])
def test_the_estimator_shows_what_it_made_on_the_way(tiny_weights, size):
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    block_averaged = DepthEstimator.from_weights(tiny_weights, "torch", precision="float32").infer(image).block_averaged
    assert block_averaged.shape[:2] == {(480, 640): (240, 320), (720, 1280): (144, 256)}.get(size, size)
    np.testing.assert_array_equal(block_averaged, shrink_by_blocks(image, (128, 128)))


@pytest.mark.parametrize("size", [(480, 640), (6, 8), (354, 1022)])
def test_halves_are_what_linear_interpolation_makes_of_them(size):
    """Clouds of every second pixel take their colours from a picture that was halved for the network."""
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    height, width = size[0] // 2, size[1] // 2
    want = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(shrink_by_blocks(image, (height, width)), want)


@pytest.mark.parametrize("shape", [(240, 1920), (256, 1920), (258, 1920), (1920, 240)])
def test_what_shrinks_one_way_and_grows_the_other_does_not_alias(shape):
    """Stripes of two pixels, of mean 127: a network of one square size sees grey, whichever way the picture is long."""
    stripes = (np.arange(max(shape)) // 2 % 2 * 255).astype(np.uint8)
    stripes = np.broadcast_to(stripes if shape[1] > shape[0] else stripes[:, None], shape)
    picture = np.ascontiguousarray(np.broadcast_to(stripes[..., None], (*shape, 3)))
    seen = resize_to_input(picture, InputSpec(256, 256, keep_aspect=False))
    assert seen.shape == (256, 256, 3)
    assert int(seen.min()) > 60 and int(seen.max()) < 195
