"""The fused normalisation against the formula, for every order and into memory of the caller's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthnet_ros.inference.preprocess import normalise, preprocess
from depthnet_ros.models.spec import InputSpec

SPECS = [
    InputSpec(8, 8),
    InputSpec(8, 8, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    InputSpec(8, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bgr"),
]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))), st.sampled_from(SPECS))
def test_normalise_is_the_formula(image, spec):
    ordered = image if spec.color_order == "rgb" else image[..., ::-1]
    want = ((ordered / 255.0 - spec.mean) / spec.std).transpose(2, 0, 1)
    got = normalise(image, spec)
    assert (got.dtype, got.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_fills_one_image_of_a_batch(spec):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    batch = np.full((3, 3, 8, 8), 7.0, np.float32)
    assert np.shares_memory(preprocess(image, spec, batch[1]), batch)
    np.testing.assert_array_equal(batch[1], preprocess(image, spec))
    assert (batch[[0, 2]] == 7.0).all()
