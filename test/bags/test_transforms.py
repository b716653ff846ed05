"""Frames of a recording: chains, interpolation, and rotations against scipy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthnet_ros.bags import messages
from depthnet_ros.bags.transforms import TransformTimeError, TransformTree, parse_extrinsic, quaternion, sensor_pose
from depthnet_ros.errors import BagError
from depthnet_ros.metric_scale import MetricScaleConfig, mounted
from test.bags.bag_scene import START_NS

Rotation = pytest.importorskip("scipy.spatial.transform").Rotation

ANGLE = st.floats(-3.14, 3.14)


def pose(x: float, yaw: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    matrix[0, 3] = x
    return matrix


@settings(max_examples=50, deadline=None)
@given(st.tuples(ANGLE, ANGLE, ANGLE))
def test_quaternion_agrees_with_scipy(angles: tuple[float, float, float]) -> None:
    rotation = Rotation.from_euler("xyz", angles)
    ours, theirs = quaternion(rotation.as_matrix()), rotation.as_quat()
    assert abs(abs(ours @ theirs) - 1.0) < 1e-9
    assert ours[3] >= 0.0


@settings(max_examples=50, deadline=None)
@given(st.tuples(ANGLE, ANGLE, ANGLE))
def test_extrinsic_has_urdf_order_of_angles(angles: tuple[float, float, float]) -> None:
    found = parse_extrinsic(f"1 2 3 {angles[0]} {angles[1]} {angles[2]}")
    np.testing.assert_allclose(found[:3, :3], Rotation.from_euler("xyz", angles).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(found[:3, 3], (1, 2, 3))


def test_extrinsic_by_quaternion_and_nonsense() -> None:
    np.testing.assert_allclose(parse_extrinsic("1,0,0,0,0,0,2"), pose(1.0))
    for text in ("1 2 3", "a b c d e f", ""):
        with pytest.raises(BagError, match="an extrinsic is"):
            parse_extrinsic(text)


def tree_of(*moving: tuple[int, float, float]) -> TransformTree:
    """odom -> base moves, base -> camera and base -> lidar are fixed."""
    tree = TransformTree()
    tree.add(messages.transforms([("base", "camera", pose(1.0)), ("base", "lidar", pose(-1.0))], 0), static=True)
    for offset_ns, x, yaw in moving:
        tree.add(messages.transforms([("odom", "base", pose(x, yaw))], START_NS + offset_ns), static=False)
    return tree


def test_lookup_over_a_common_ancestor() -> None:
    np.testing.assert_allclose(tree_of().lookup("camera", "lidar", START_NS), pose(-2.0), atol=1e-12)


def test_moving_frames_are_interpolated() -> None:
    tree = tree_of((0, 0.0, 0.0), (100, 1.0, 0.2))
    found = tree.lookup("odom", "base", START_NS + 25)
    np.testing.assert_allclose(found[:3, 3], (0.25, 0, 0), atol=1e-9)
    assert Rotation.from_matrix(found[:3, :3]).as_euler("zyx")[0] == pytest.approx(0.05, abs=1e-4)


def test_a_turn_through_half_a_circle_takes_the_short_way() -> None:
    """The two quaternions of one turn: between them lies none."""
    tree = tree_of((0, 0.0, 3.1), (100, 0.0, -3.1))
    yaw = Rotation.from_matrix(tree.lookup("odom", "base", START_NS + 50)[:3, :3]).as_euler("zyx")[0]
    assert abs(yaw) == pytest.approx(np.pi, abs=1e-6)


def test_what_is_not_known_is_said() -> None:
    tree = tree_of((0, 0.0, 0.0))
    with pytest.raises(BagError, match=r"no transform from 'imu' to 'camera'.*base->camera"):
        tree.lookup("camera", "imu", START_NS)
    with pytest.raises(BagError, match="needed at"):
        tree.lookup("odom", "camera", START_NS + 10**10)


def test_a_circle_is_no_tree() -> None:
    tree = tree_of()
    tree.add(messages.transforms([("camera", "base", pose(0.0))], 0), static=True)
    with pytest.raises(BagError, match="circle"):
        tree.lookup("odom", "camera", 0)


def test_a_transform_that_is_none_costs_itself_alone() -> None:
    """As tf2 has it: an arm's driver may send zeros or NaN beside a robot that is whole."""
    message = messages.transforms([("a", "unfilled", pose(0.0)), ("a", "nan", pose(0.0)), ("a", "b", pose(0.0))], 0)
    rotation = message.transforms[0].transform.rotation
    rotation.x = rotation.y = rotation.z = rotation.w = 0.0
    message.transforms[1].transform.translation.x = float("nan")
    tree = TransformTree()
    problems = tree.add(message, static=True)
    assert [problem.split(":")[0] for problem in problems] == ["a to unfilled", "a to nan"]
    np.testing.assert_array_equal(tree.lookup("a", "b", 0), pose(0.0))
    with pytest.raises(BagError, match="no transform"):
        tree.lookup("a", "unfilled", 0)


def lidar_message(offset_s: float) -> Any:
    stamp = START_NS + round(1e9 * offset_s)
    time = SimpleNamespace(sec=stamp // 10**9, nanosec=stamp % 10**9)
    return SimpleNamespace(header=SimpleNamespace(frame_id="lidar", stamp=time))


def test_a_sensor_stands_where_tf_says_else_where_its_parameter_does() -> None:
    tree, nothing = tree_of((0, 1.0, 0.2)), TransformTree()
    given = MetricScaleConfig(scan_pose=(0.5, 0.0, 0.0, 0.0, 0.0, 0.0))
    by_tf = sensor_pose("scan", lidar_message(0.4), "odom", tree, given)
    np.testing.assert_allclose(by_tf, pose(1.0, 0.2) @ pose(-1.0), atol=1e-12)
    by_parameter = sensor_pose("scan", lidar_message(0.4), "odom", nothing, given)
    np.testing.assert_array_equal(by_parameter, mounted("scan", given.scan_pose))
    with pytest.raises(BagError, match="no transform from 'lidar' to 'odom'"):
        sensor_pose("scan", lidar_message(0.4), "odom", nothing, MetricScaleConfig())


def test_what_moves_above_both_frames_does_not_matter() -> None:
    """Camera and lidar are fixed on a robot whose odometry came long ago."""
    tree = tree_of((-5 * 10**9, 1.0, 0.0))
    np.testing.assert_allclose(tree.lookup("camera", "lidar", START_NS), pose(-2.0), atol=1e-12)
    assert sensor_pose("scan", lidar_message(0.4), "camera", tree, MetricScaleConfig()) is not None


def test_a_transform_of_long_ago_is_no_place_even_if_the_parameter_gives_one() -> None:
    """As in the node: a sensor on a moving mount is not where its parameter says while TF is late."""
    given = MetricScaleConfig(scan_pose=(0.5, 0.0, 0.0, 0.0, 0.0, 0.0), source_timeout_s=0.2)
    with pytest.raises(TransformTimeError, match="known from"):
        sensor_pose("scan", lidar_message(0.4), "odom", tree_of((0, 1.0, 0.0)), given)


def test_a_frame_with_a_new_parent_has_no_past_in_it() -> None:
    tree = tree_of((0, 0.0, 0.0))
    tree.add(messages.transforms([("map", "base", pose(10.0))], START_NS + 100), static=False)
    np.testing.assert_allclose(tree.lookup("map", "base", START_NS + 50)[:3, 3], (10.0, 0, 0))


def test_of_two_transforms_of_one_stamp_the_first_counts() -> None:
    """As tf2 has it."""
    tree = tree_of((0, 0.0, 0.0), (100, 1.0, 0.0), (100, 7.0, 0.0), (0, 7.0, 0.0))
    for offset_ns, x in ((0, 0.0), (50, 0.5), (100, 1.0), (150, 1.0)):
        np.testing.assert_allclose(tree.lookup("odom", "base", START_NS + offset_ns)[:3, 3], (x, 0, 0), atol=1e-9)


def test_a_long_recording_s_transforms_fill_no_memory() -> None:
    tree = tree_of(*((number * 10**8, 0.1 * number, 0.0) for number in range(1000)))
    assert 290 < len(tree._moving["base"][1]) < 310


@pytest.mark.parametrize(("target", "source"), [("odom", "camera"), ("camera", "odom")])
def test_a_transform_of_another_time_is_told_as_such_either_way(target: str, source: str) -> None:
    with pytest.raises(TransformTimeError, match="known from"):
        tree_of((0, 0.0, 0.0)).lookup(target, source, START_NS + 10**10)


def test_what_helps_is_what_the_caller_can_take() -> None:
    """--extrinsic is of the reference alone: an anchor's place is a parameter."""
    nothing = TransformTree()
    with pytest.raises(BagError, match=r"Record /tf_static, or set scale\.scan_pose$"):
        sensor_pose("scan", lidar_message(0.0), "camera", nothing, MetricScaleConfig())
    with pytest.raises(BagError, match=r"Record /tf_static$"):
        nothing.lookup("base", "camera", START_NS)
    with pytest.raises(BagError, match=r"to '': a frame_id is empty\. Let .* set header\.frame_id, or set scale\."):
        sensor_pose("scan", lidar_message(0.0), "", nothing, MetricScaleConfig())
