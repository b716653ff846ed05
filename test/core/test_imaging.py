"""Every encoding of a camera to RGB, from scenes whose colours are known."""

from __future__ import annotations

import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from depthnet_ros.errors import ImageError
from depthnet_ros.imaging import ENCODINGS, compressed_to_rgb, to_rgb

RGB = np.array([[[200, 30, 60]] * 8] * 6, dtype=np.uint8)  # one colour: demosaicing and chroma lose nothing
GREY = np.array(cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY))


def message(encoding: str, pixels: np.ndarray, padding: int = 0, big_endian: bool = False) -> SimpleNamespace:
    if big_endian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    height, width = pixels.shape[:2]
    return SimpleNamespace(
        height=height * 2 // 3 if encoding.startswith("nv") else height,
        width=width,
        encoding=encoding,
        is_bigendian=big_endian,
        step=rows.shape[1],
        data=rows.tobytes(),
    )


def _mosaic(pattern: str) -> np.ndarray:
    out = np.empty(RGB.shape[:2], np.uint8)
    for index, letter in enumerate(pattern):
        out[index // 2 :: 2, index % 2 :: 2] = RGB[index // 2 :: 2, index % 2 :: 2, "rgb".index(letter)]
    return out


def _yuv(order: str) -> np.ndarray:
    """BT.601 limited range, as OpenCV reads UYVY, YUY2, NV12 and NV21."""
    r, g, b = RGB[0, 0].astype(np.float64)
    luma = round(16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256)
    cb = round(128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256)
    cr = round(128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256)
    height, width = RGB.shape[:2]
    if order in ("nv12", "nv21"):
        out = np.full((height * 3 // 2, width), luma, np.uint8)
        out[height:] = np.tile([cb, cr] if order == "nv12" else [cr, cb], width // 2)
        return out
    out = np.empty((height, width, 2), np.uint8)
    chroma, light = (0, 1) if order == "uyvy" else (1, 0)
    out[..., light] = luma
    out[:, 0::2, chroma] = cb
    out[:, 1::2, chroma] = cr
    return out


def _sent(encoding: str) -> np.ndarray:
    """The one-colour scene as a camera sends it."""
    if encoding.startswith("bayer"):
        mosaic = _mosaic(encoding[6:10])
        return mosaic.astype(np.uint16) * 257 if encoding.endswith("16") else mosaic
    if encoding in ("uyvy", "yuv422"):
        return _yuv("uyvy")
    if encoding in ("yuyv", "yuv422_yuy2"):
        return _yuv("yuyv")
    if encoding in ("nv12", "nv21"):
        return _yuv(encoding)
    alpha = np.full((*RGB.shape[:2], 1), 17, np.uint8)
    order = {
        "rgb": RGB,
        "bgr": RGB[..., ::-1],
        "rgba": np.dstack((RGB, alpha)),
        "bgra": np.dstack((RGB[..., ::-1], alpha)),
    }
    order |= {"8UC3": order["bgr"], "8UC4": order["bgra"], "mono": GREY, "8UC1": GREY}
    if encoding.startswith("32FC"):
        return (GREY if encoding == "32FC1" else RGB[..., ::-1]).astype(np.float32) / 255
    name = encoding if encoding in order else encoding.rstrip("0123456789")
    return order[name].astype(np.uint16) * 257 if encoding.endswith("16") else np.ascontiguousarray(order[name])


def _expected(encoding: str) -> np.ndarray:
    return np.dstack([GREY] * 3) if encoding in ("mono8", "mono16", "8UC1", "32FC1") else RGB


@pytest.mark.parametrize("padding", [0, 1, 8])
@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_every_encoding(encoding, padding):
    sent = _sent(encoding)
    rgb = to_rgb(message(encoding, sent, padding))
    assert rgb.dtype == np.uint8 and rgb.shape == RGB.shape
    tolerance = 2 if "yu" in encoding or "nv" in encoding else 1
    inner = (slice(1, -1), slice(1, -1)) if encoding.startswith("bayer") else ...
    assert np.abs(rgb.astype(int) - _expected(encoding))[inner].max() <= tolerance
    if sent.dtype.itemsize > 1:
        np.testing.assert_array_equal(to_rgb(message(encoding, sent, padding, big_endian=True)), rgb)


def test_rgb8_is_a_view():
    data = bytearray(RGB.tobytes())
    source = SimpleNamespace(height=6, width=8, encoding="rgb8", is_bigendian=0, step=24, data=data)
    rgb = to_rgb(source)
    data[0] = 1
    assert rgb[0, 0, 0] == 1


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))), st.integers(0, 5))
def test_bgr8_of_any_size_and_padding(pixels, padding):
    np.testing.assert_array_equal(to_rgb(message("bgr8", pixels, padding)), pixels[..., ::-1])


@pytest.mark.parametrize(("encoding", "order"), [("nv12", [0, 1]), ("nv21", [1, 0])])
def test_chroma_of_its_own_plane_belongs_to_its_pixels(encoding, order):
    """Against OpenCV's reading of I420, which has one plane more."""
    scene = cv2.resize(np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8), (32, 16))
    i420 = cv2.cvtColor(scene, cv2.COLOR_RGB2YUV_I420)
    chroma = i420[16:].reshape(2, 8, 16)[order]
    sent = np.vstack((i420[:16], np.stack(chroma, -1).reshape(8, 32)))
    rgb = to_rgb(message(encoding, sent, padding=32))
    np.testing.assert_array_equal(rgb, cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"height": 5}, "a nv12 image needs an even width and height, got 8x5"),
        ({"width": 7}, "a nv12 image needs an even width and height, got 7x6"),
        ({"height": 0}, "no pixels"),
        ({"step": 7}, "at least 8 bytes, got 7"),
        ({"data": bytes(48)}, "data with step 8 must be 72 bytes, got 48"),
        # A plane of 8 rows for an image of 6: where chroma begins is said nowhere.
        ({"data": bytes(8 * 12)}, "must be 72 bytes, got 96"),
    ],
)
def test_faults_of_planes_are_named(changes, complaint):
    broken = message("nv12", _sent("nv12"))
    vars(broken).update(changes)
    with pytest.raises(ImageError, match=complaint):
        to_rgb(broken)


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name.startswith("bayer")])
def test_bayer_pictures_of_fewer_than_three_rows_or_columns_are_refused(encoding):
    """OpenCV makes black of them."""
    sent = _sent(encoding)
    assert to_rgb(message(encoding, sent[:3, :3])).any()
    for small in (sent[:2], sent[:, :2]):
        with pytest.raises(ImageError, match=f"a {encoding} image needs 3 rows and columns at least"):
            to_rgb(message(encoding, small))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"encoding": "16UC1"}, "cannot read encoding '16UC1': set the camera driver's to rgb8, or to one of .*mono16"),
        ({"encoding": "nv24"}, "cannot read encoding 'nv24': set the camera driver's to rgb8"),
        ({"height": 0}, "no pixels"),
        ({"step": 23}, "at least 24 bytes, got 23"),
        ({"data": b"123"}, "must be 144 bytes, got 3"),
        ({"height": 2**31}, "must be"),
    ],
)
def test_faults_are_named(changes, complaint):
    broken = message("rgb8", RGB)
    vars(broken).update(changes)
    with pytest.raises(ImageError, match=complaint):
        to_rgb(broken)


def test_jpeg_and_png_and_what_is_neither():
    png = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(compressed_to_rgb(png), RGB)
    jpeg = cv2.imencode(".jpg", RGB[..., ::-1])[1].tobytes()
    assert np.abs(compressed_to_rgb(jpeg).astype(int) - RGB).max() < 10
    for trailer in (bytes(64), b"\n", b"\xff" * 5, b"trailer of a phone" * 400):
        np.testing.assert_array_equal(compressed_to_rgb(jpeg + trailer), compressed_to_rgb(jpeg))
    for bad, complaint in (
        (b"", "empty"),
        (jpeg[:-40], "cut short"),
        (png[: len(png) // 2], "cannot be decoded|no JPEG|cut short"),
        (b"hello world", "68 65 6c"),
    ):
        with pytest.raises(ImageError, match=complaint):
            compressed_to_rgb(bad)


def _photo() -> bytes:
    """A JPEG with something in each of its blocks."""
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC))[1].tobytes()


@pytest.mark.parametrize("damage", ["lost", "zeros", "noise", "half"])
def test_a_jpeg_that_was_damaged_on_the_way_is_no_picture(damage):
    """OpenCV makes up what is missing, and depth of it would be in metres like any other."""
    jpeg = _photo()
    middle = len(jpeg) // 2
    noise = np.random.default_rng(1).integers(0, 255, 500, dtype=np.uint8).tobytes()
    instead = {"lost": b"", "zeros": bytes(500), "noise": noise, "half": b""}[damage]
    rest = b"\xff\xd9" if damage == "half" else jpeg[middle + 500 :]
    with pytest.raises(ImageError, match=r"is damaged: Corrupt JPEG data: (premature end|bad Huffman|\d+ extraneous)"):
        compressed_to_rgb(jpeg[:middle] + instead + rest)


@pytest.mark.parametrize("padding", [b"\x00\x21\x4c\x07\x35", bytes(500)], ids=["few", "alike"])
def test_padding_before_the_end_marker_harms_nothing(padding):
    """Some webcams leave some in every picture."""
    jpeg = _photo()
    np.testing.assert_array_equal(compressed_to_rgb(jpeg[:-2] + padding + b"\xff\xd9"), compressed_to_rgb(jpeg))


def test_of_flipped_bits_that_a_decoder_notices_none_goes_through_but_for_a_few_bytes_left_over():
    jpeg, rng, noticed = _photo(), np.random.default_rng(2), 0
    start = jpeg.index(b"\xff\xda") + 12
    for place, bit in zip(rng.integers(start, len(jpeg) - 4, 300), rng.integers(0, 8, 300), strict=True):
        flipped = bytearray(jpeg)
        flipped[place] ^= 1 << int(bit)
        try:
            simplejpeg.decode_jpeg(bytes(flipped))
        except ValueError as error:
            if re.search(r"\b[1-8] extraneous bytes before marker 0xd9", str(error)):
                continue
            noticed += 1
            with pytest.raises(ImageError, match="is damaged"):
                compressed_to_rgb(bytes(flipped))
    assert noticed > 10


@pytest.mark.parametrize("kind", ["grey", "progressive", "uyvy"])
def test_the_kinds_of_jpeg_are_what_opencv_makes_of_them(kind):
    pixels = cv2.imdecode(np.frombuffer(_photo(), np.uint8), cv2.IMREAD_COLOR)
    if kind == "grey":
        pixels = pixels[..., 0]
    if kind == "uyvy":
        data = simplejpeg.encode_jpeg(pixels, colorspace="BGR", colorsubsampling="422")
    else:
        options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if kind == "progressive" else []
        data = cv2.imencode(".jpg", pixels, options)[1].tobytes()
    expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(compressed_to_rgb(data).astype(int) - expected).max() <= 1
