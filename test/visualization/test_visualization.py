import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from depthnet_ros.errors import ImageError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.visualization.cloud import RELATIVE_CONTRAST, relative_cloud_depth, render_cloud, write_ply
from depthnet_ros.visualization.color import INVALID_RGB, colorize, colorize_depth
from depthnet_ros.visualization.picture import side_by_side, stacked, write_picture
from depthnet_ros.visualization.table import format_table

FLOATS = st.one_of(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), st.sampled_from([np.nan, np.inf, -np.inf]))


class TestColor:
    def test_near_is_brighter_than_far(self):
        picture = colorize(np.tile(np.linspace(0, 1, 64, dtype=np.float32), (8, 1)))
        brightness = picture[0].astype(int).sum(axis=1)
        assert (np.diff(brightness[2:-2]) >= 0).all()
        assert brightness[-1] > 3 * brightness[0]

    @given(arrays(np.float32, (6, 7), elements=FLOATS))
    @settings(max_examples=60, deadline=None)
    def test_whatever_comes_no_value_is_grey_and_a_value_is_not(self, values):
        picture = colorize(values)
        assert picture.shape == (6, 7, 3) and picture.dtype == np.uint8
        grey = (picture == INVALID_RGB).all(axis=-1)
        np.testing.assert_array_equal(grey, ~np.isfinite(values))

    @given(st.floats(1e-2, 1e3, allow_subnormal=False), st.floats(-10, 10, allow_subnormal=False))
    @settings(max_examples=30, deadline=None)
    def test_scale_and_shift_do_not_change_the_picture(self, scale, shift):
        values = np.random.default_rng(0).random((24, 32))
        difference = colorize(values).astype(int) - colorize(scale * values + shift).astype(int)
        assert np.abs(difference).max() <= 8

    def test_fixed_limits_give_the_same_colour_for_the_same_value(self):
        near, far = np.full((4, 4), 0.8), np.full((4, 4), 0.3)
        near[0, 0] = far[0, 0] = 0.5
        assert (colorize(near, (0, 1))[0, 0] == colorize(far, (0, 1))[0, 0]).all()

    def test_depth_of_rep_117(self):
        picture = colorize_depth(np.array([[1.0, 2.0, 4.0, np.inf, np.nan, -np.inf]], np.float32))
        assert (picture[0, 4:] == INVALID_RGB).all()
        assert (picture[0, 3] != INVALID_RGB).any() and (np.diff(picture[0, :4].astype(int).sum(axis=1)) < 0).all()

    @pytest.mark.parametrize("near_pixels", [0, 1])
    def test_where_nothing_returns_all_is_far(self, near_pixels):
        depth = np.full((20, 20), np.inf, np.float32)
        depth[0, :near_pixels] = 2.0
        assert (colorize_depth(depth)[1:] == colorize(np.array([[0.0, 1.0]]))[0, 0]).all()

    def test_only_planes_are_taken(self):
        with pytest.raises(ImageError, match="expected H x W"):
            colorize(np.zeros((3, 4, 1)))


def read_ply(path):
    header, _, body = path.read_bytes().partition(b"end_header\n")
    return header.decode(), np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])


class TestCloud:
    def test_ply_holds_the_finite_points_their_colours_and_the_unit(self, tmp_path):
        points = np.array([[[1, 2, 3], [np.nan, 0, 1]], [[4, 5, np.inf], [7, 8, 9]]], np.float32)
        colors = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        assert write_ply(tmp_path / "sub" / "c.ply", points, colors, "arbitrary") == 2
        header, vertices = read_ply(tmp_path / "sub" / "c.ply")
        assert "element vertex 2" in header and "unit: arbitrary" in header
        np.testing.assert_array_equal(vertices["xyz"], [[1, 2, 3], [7, 8, 9]])
        np.testing.assert_array_equal(vertices["rgb"], [[0, 1, 2], [9, 10, 11]])

    def test_colours_must_fit_the_points(self, tmp_path):
        with pytest.raises(ImageError, match="4 points and 3 colours"):
            write_ply(tmp_path / "c.ply", np.zeros((4, 3)), np.zeros((3, 3), np.uint8))

    def test_near_points_hide_far_ones(self):
        """A red wall before a green one of the same angular size, seen from straight ahead."""
        camera = PinholeCamera.from_fov(64, 48, 1.0)
        near, far = camera.unproject(np.full((48, 64), 2.0)), camera.unproject(np.full((48, 64), 4.0))
        points = np.concatenate((near, far)).reshape(-1, 3)
        colors = np.repeat(np.array([[250, 0, 0], [0, 250, 0]], np.uint8), 48 * 64, axis=0)
        picture = render_cloud(points, colors, (120, 90), yaw_deg=0.0, pitch_deg=0.0, splat_px=7)
        assert (picture[40:50, 55:65] == (250, 0, 0)).all()

    def test_turning_the_view_moves_the_near_to_one_side(self):
        camera = PinholeCamera.from_fov(64, 48, 1.0)
        depth = np.full((48, 64), 4.0, np.float32)
        depth[20:28, 28:36] = 2.0
        colors = np.full((48, 64, 3), (0, 0, 200), np.uint8)
        colors[20:28, 28:36] = (250, 0, 0)
        columns = []
        for yaw in (-25.0, 25.0):
            picture = render_cloud(camera.unproject(depth), colors, (160, 120), yaw_deg=yaw)
            columns.append(np.argwhere((picture == (250, 0, 0)).all(axis=-1))[:, 1].mean())
        assert columns[1] - columns[0] > 20

    @pytest.mark.parametrize("count", [1, 5])
    def test_one_point_or_one_many_times_over_is_in_the_middle(self, count):
        points, colors = np.full((count, 3), (0.5, -1.0, 3.0)), np.full((count, 3), (200, 90, 40), np.uint8)
        picture = render_cloud(points, colors, (32, 24), splat_px=3)
        rows, columns = np.nonzero((picture == (200, 90, 40)).all(axis=2))
        assert len(rows) == 9 and abs(rows.mean() - 12) <= 1 and abs(columns.mean() - 16) <= 1

    def test_a_cloud_without_points_is_an_empty_picture(self):
        picture = render_cloud(np.full((5, 3), np.nan), np.zeros((5, 3), np.uint8), (32, 24))
        assert picture.shape == (24, 32, 3) and picture.std(axis=(0, 1)).max() == 0

    def test_relative_depth_is_arbitrary_but_ordered_and_scale_free(self):
        inverse = np.random.default_rng(1).random((30, 40))
        depth = relative_cloud_depth(inverse)
        assert depth.min() == pytest.approx(1.0) and depth.max() == pytest.approx(RELATIVE_CONTRAST)
        order = np.argsort(inverse.ravel())
        assert (np.diff(depth.ravel()[order]) <= 1e-6).all()
        np.testing.assert_allclose(relative_cloud_depth(7 * inverse - 3), depth, rtol=1e-4)


class TestPicture:
    def test_pictures_are_brought_to_one_height_and_written(self, tmp_path):
        left, right = np.full((20, 30, 3), 10, np.uint8), np.full((40, 30, 3), (200, 0, 0), np.uint8)
        row = side_by_side([left, right])
        assert row.shape[1] == 30 + 4 + 15
        both = stacked([row, left])
        assert both.shape == (row.shape[0] + 4 + 20, row.shape[1], 3)
        write_picture(tmp_path / "deep" / "p.png", both)
        read = cv2.cvtColor(cv2.imread(str(tmp_path / "deep" / "p.png")), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(read, both)

    def test_captions_of_portrait_pictures_can_be_read(self):
        """In letters as high as those of a wide picture, on as many lines as they need, and all in one row."""
        text = "metric depth, 1.6 (bright) to 6.0 m, AbsRel 0.10"
        portrait, wide = np.full((640, 240, 3), (0, 200, 0), np.uint8), np.full((480, 640, 3), (0, 200, 0), np.uint8)
        row = side_by_side([portrait, portrait], ["camera", text], 270)
        assert row.shape[1] == 200 + 4 + 200
        assert (row[-270:, :101] == (0, 200, 0)).all() and not (row[-270:, 110:200] == (0, 200, 0)).all(axis=2).any()

        def letters_px(bar):
            lit = (bar.max(axis=2) > 120).any(axis=1)
            edges = np.flatnonzero(np.diff(np.r_[False, lit, False].astype(int)))
            return list(edges[1::2] - edges[::2])

        two, (one,) = letters_px(row[:-270, 204:]), letters_px(side_by_side([wide], [text], 270)[:-270])
        assert len(two) == 2 and min(two) >= one - 3 >= 5

    @pytest.mark.parametrize("name", ["p.unknown", "folder.png"])
    def test_what_cannot_be_written_is_an_error(self, name, tmp_path):
        (tmp_path / "folder.png").mkdir()
        with pytest.raises(ImageError, match="cannot write"):
            write_picture(tmp_path / name, np.zeros((4, 4, 3), np.uint8))

    def test_wrong_use(self):
        with pytest.raises(ImageError, match="at least one"):
            side_by_side([])
        with pytest.raises(ImageError, match="as many captions"):
            side_by_side([np.zeros((4, 4, 3), np.uint8)], ["a", "b"])
        with pytest.raises(ImageError, match="at least one"):
            stacked([])


def test_tables_line_up():
    text = format_table(["stage", "ms"], [["network", 1.5], ["a", "-"]])
    assert text.splitlines() == ["| stage   | ms  |", "|---------|-----|", "| network | 1.5 |", "| a       | -   |"]
    with pytest.raises(ValueError, match="2 cells"):
        format_table(["a", "b"], [["c"]])
