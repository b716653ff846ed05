"""Metric scale in the node, frame by frame and reading by reading: what is forgotten, kept, and told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image, Range
from std_msgs.msg import Header

from depthnet_ros.messages.anchors import SensorNames
from depthnet_ros.metric_scale import GroundPlane, MetricDepth, MetricScaleConfig, MetricScaler, ScaleState, mounted
from depthnet_ros.parameters import PARAMETERS
from depthnet_ros.ros import diagnostics
from depthnet_ros.ros.camera_input import CameraFrame
from depthnet_ros.ros.metric_channel import MetricChannel
from depthnet_ros.ros.prepared_frame import PreparedFrame
from depthnet_ros.ros.scale_inputs import ScaleInputs, SensorPoses
from test.metric_scale.world import CAMERA, FOV, FRAME_S, SIZE, World

from .graph import Graph, picture, wait_until

PICTURE, HEADER = picture(SIZE[1], SIZE[0]), Header(frame_id="camera_optical")
ANCHORS = {"scale.mode": "anchors", "scale.use_tf": False, "scale.sources": ["points"]}


class Channel(MetricChannel):
    """A channel whose camera and lidar see a world."""

    def __init__(self, node: LifecycleNode, **settings: object) -> None:
        self.parameters = {one.name: one.default for one in PARAMETERS} | ANCHORS | settings
        self.time_s = 0.0
        super().__init__(node, "", self.parameters, False, lambda: self.time_s)
        self.world, self.frames, self.lidar_m = World(), 0, math.inf

    def see(
        self,
        frames: int,
        lidar: bool = True,
        rgb: np.ndarray = PICTURE,
        seen: np.ndarray | None = None,
    ) -> MetricDepth:
        for _ in range(frames):
            stamp_s = 100.0 + self.frames * FRAME_S
            self.frames += 1
            if lidar:
                self._scaler.add(self.world.points(stamp_s).within(self.lidar_m))
            frame = CameraFrame(Image(header=HEADER), None, round(1e9 * stamp_s), 0.0)
            last = self.update(PreparedFrame(frame, frozenset(), rgb, CAMERA, seen), self.world.prediction())
        return last

    def change(self, **settings: object) -> None:
        self.parameters |= settings
        self.on_parameters(frozenset(settings))


def test_a_jump_in_time_forgets_the_scale_once(node: LifecycleNode) -> None:
    channel, mount = Channel(node), Mount(np.eye(4))
    channel.start(mount, lambda depth: depth)  # type: ignore[arg-type]
    assert channel.see(20).state is ScaleState.CALIBRATED and mount.pose is not None
    channel.reset()
    assert mount.pose is None, "what TF said of moving frames holds no more"
    after = channel.see(1, lidar=False)
    assert after.state is ScaleState.UNCALIBRATED and after.estimate is None
    assert channel.see(20).state is ScaleState.CALIBRATED
    channel.stop()


def test_limits_of_what_is_told_change_and_scale_is_kept_others_and_it_is_learnt_anew(node: LifecycleNode) -> None:
    channel = Channel(node)
    assert channel.see(20).published
    channel.change(**{"scale.max_depth_m": 3.0})
    limited = channel.see(1, lidar=False)
    assert limited.published and limited.max_depth_m == 3.0
    channel.change(**{"nav.max_range_m": 2.0})
    assert channel.see(1, lidar=False).published
    channel.change(**{"scale.network_sigma": 0.3})
    assert channel.see(1, lidar=False).state is ScaleState.UNCALIBRATED


def test_with_a_limit_of_depth_that_is_moved_scale_is_as_certain_as_if_it_had_always_been_there(
    node: LifecycleNode,
) -> None:
    """How well scale must be known depends on how far depth is told."""
    moved, always = Channel(node, **{"scale.max_depth_m": 2.0}), Channel(node, **{"scale.max_depth_m": 100.0})
    for channel in (moved, always):
        channel.lidar_m = 1.5  # of both limits all points are used
        channel.see(20)
    moved.change(**{"scale.max_depth_m": 100.0})
    after, wanted = moved.see(1), always.see(1)
    assert after.estimate is not None and wanted.estimate is not None
    assert after.estimate.relative_sigma == pytest.approx(wanted.estimate.relative_sigma)
    assert (after.state, after.message) == (wanted.state, wanted.message)


def test_nothing_is_learnt_where_a_rectified_picture_is_black(node: LifecycleNode) -> None:
    half = np.ones(SIZE, bool)
    half[:, :80] = False
    assert Channel(node).see(3, seen=half).anchor_count < 0.7 * Channel(node).see(3).anchor_count


def test_a_picture_that_shows_nothing_is_no_calibrated_depth_however_sure_scale_is(node: LifecycleNode) -> None:
    channel = Channel(node)
    assert channel.see(20).state is ScaleState.CALIBRATED
    assert not channel.findings()
    dark = channel.see(1, rgb=np.zeros_like(PICTURE))
    assert dark.state is ScaleState.CALIBRATED and not dark.published
    assert (diagnostics.WARN, dark.message) in channel.findings()


def test_scale_of_a_camera_that_falls_silent_is_stale_after_two_seconds_at_least(node: LifecycleNode) -> None:
    """Slow cameras exist, whatever ``scale.stale_after_s`` is."""
    channel = Channel(node, **{"scale.stale_after_s": 0.5})
    assert channel.see(20).published
    channel.time_s += 1.5
    channel.watch()
    assert channel.values()["scale_state"] == "calibrated"
    channel.time_s += 1.0
    channel.watch(at_rest_because="nobody listens")
    assert (channel.values()["scale_state"], channel.values()["metric_published"]) == ("stale", False)
    assert channel.findings()[0][0] == diagnostics.OK and "nobody listens" in channel.findings()[0][1]


def test_scale_of_a_node_that_is_not_active_is_not_known(node: LifecycleNode) -> None:
    channel = Channel(node)
    channel.see(20)
    channel.deactivated()
    assert (channel.values()["scale_state"], channel.values()["metric_published"]) == ("uncalibrated", False)


class Mount:
    """TF of one moving frame: a pose, or none; none after time jumped."""

    def __init__(self, pose: np.ndarray | None) -> None:
        self.pose = pose

    def find(
        self, target: str, source: str, stamp: object, patience_s: float, wait_s: float = 0.0
    ) -> np.ndarray | None:
        return self.pose

    def forget(self) -> None:
        self.pose = None


def inputs_of(graph: Graph, mount: Mount | None, **settings: object) -> tuple[ScaleInputs, MetricScaler]:
    config = MetricScaleConfig(mode="anchors", sources=["range"], **settings)
    inputs = ScaleInputs(graph.node, "", config, mount, lambda depth: depth, SensorNames())
    scaler = MetricScaler(config, CAMERA)
    inputs.look_through(scaler, CAMERA, "camera_optical", None)
    return inputs, scaler


def sonar(stamp_s: float, reading_m: float, frame_id: str = "sonar") -> Range:
    message = Range(field_of_view=FOV, min_range=0.05, max_range=6.0, range=reading_m)
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(1e9 * stamp_s), 10**9)
    return message


def test_a_reading_that_came_while_the_network_was_at_work_is_of_its_frame(graph: Graph, node: LifecycleNode) -> None:
    """The executor, which yields to the network, has not given it out yet: here nothing spins the node at all."""
    config = MetricScaleConfig(mode="anchors", sources=["range"])
    inputs = ScaleInputs(node, "", config, None, lambda depth: depth, SensorNames())
    scaler = MetricScaler(config, CAMERA)
    publisher = graph.node.create_publisher(Range, "/anchors/range", 5)
    wait_until(lambda: publisher.get_subscription_count() == 1)
    inputs.look_through(scaler, CAMERA, "camera_optical", None)
    publisher.publish(sonar(100.0, 1.0))

    def is_there() -> bool:
        inputs.look_through(scaler, CAMERA, "camera_optical", None)
        return [anchor.range_m for anchor in scaler._buffer.take(100.0)] == [1.0]

    wait_until(is_there)
    inputs.destroy()
    inputs.look_through(scaler, CAMERA, "camera_optical", None)  # a frame that was under way
    graph.node.destroy_publisher(publisher)


@pytest.mark.parametrize(("pose", "reading_m"), [((), math.nan), ((0.0, 0.0, 0.0, 0.0, 0.0, 2.0), 1.0)])
def test_a_sensor_whose_readings_cannot_be_used_is_not_silent(graph: Graph, pose: tuple, reading_m: float) -> None:
    """An error of its own, or it looks elsewhere: that is told, and not that its topic is missing."""
    inputs, scaler = inputs_of(graph, None, **({"range_pose": pose} if pose else {}))
    world = World()
    for index in range(60):
        stamp_s = 100.0 + index * FRAME_S
        inputs.receive("range", sonar(stamp_s, reading_m))
        last = scaler.update(world.prediction(), stamp_s)
    assert inputs.problems.keys() == {"range"} and not last.troubles
    inputs.destroy()


def test_of_two_sonars_on_one_topic_the_one_that_falls_silent_is_told(graph: Graph) -> None:
    inputs, scaler = inputs_of(graph, None)
    world = World()
    for index in range(60):
        stamp_s = 100.0 + index * FRAME_S
        inputs.receive("range", sonar(stamp_s, world.true_range_m(), "left"))
        if index < 20:
            inputs.receive("range", sonar(stamp_s, world.true_range_m(), "right"))
        last = scaler.update(world.prediction(), stamp_s)
    assert any(trouble.startswith("range right: silent for") for trouble in last.troubles)
    assert not any(trouble.startswith("range: silent") for trouble in last.troubles)
    inputs.destroy()


def test_sensors_keep_their_names_when_the_node_is_activated_anew(node: LifecycleNode) -> None:
    """Whichever of two on one topic speaks first then: histories are kept by name."""
    channel = Channel(node, **{"scale.sources": ["range"]})
    for order in (("left", "right"), ("right", "left")):
        channel.start(None, lambda depth: depth)
        channel.see(1, lidar=False)
        for _ in range(60):
            for frame_id in order:
                reading = sonar(100.0 + channel.frames * FRAME_S, channel.world.true_range_m(), frame_id)
                channel.inputs.receive("range", reading)
            last = channel.see(1, lidar=False)
        channel.stop()
        assert last.anchor_count and not last.troubles


@pytest.mark.parametrize("anew", [False, True])
def test_a_sensor_whose_frame_was_put_right_is_not_missed_by_its_old_name(node: LifecycleNode, anew: bool) -> None:
    """``anew``: a parameter of scale is changed as well, so that the estimate begins anew."""
    channel = Channel(node, **{"scale.sources": ["range"]})
    for frame_id in ("sonnar", "sonar"):
        channel.start(None, lambda depth: depth)
        if anew:
            channel.on_parameters(frozenset({"scale.view_range"}))
        for _ in range(60):
            channel.see(1, lidar=False)
            reading = sonar(100.0 + channel.frames * FRAME_S, channel.world.true_range_m(), frame_id)
            channel.inputs.receive("range", reading)
        last = channel.see(1, lidar=False)
        channel.stop()
        assert last.anchor_count and not last.troubles


@pytest.mark.parametrize("when", [0, 30])
def test_a_stray_message_that_cannot_be_used_makes_no_sensor_that_is_missed(node: LifecycleNode, when: int) -> None:
    """``when``: before which reading of the sensor itself it comes."""
    channel = Channel(node, **{"scale.sources": ["range"]})
    channel.start(None, lambda depth: depth)
    for index in range(90):
        channel.see(1, lidar=False)
        if index == when:
            channel.inputs.receive("range", sonar(0.0, math.nan, "stray"))
        reading = sonar(100.0 + channel.frames * FRAME_S, channel.world.true_range_m(), "sonar")
        channel.inputs.receive("range", reading)
    last = channel.see(1, lidar=False)
    assert last.anchor_count and not last.troubles


def test_a_pose_that_is_set_holds_from_the_next_reading_on(graph: Graph) -> None:
    inputs, _ = inputs_of(graph, None)
    inputs.receive("range", sonar(1.0, 2.0))
    assert not inputs.problems
    aside = MetricScaleConfig(mode="anchors", sources=["range"], range_pose=(0.0, 0.0, 0.0, 0.0, 0.0, 2.0))
    inputs.configure(aside)
    inputs.receive("range", sonar(1.1, 2.0))
    assert "the camera sees 0% of the cone" in inputs.problems["range"]
    inputs.destroy()


def test_a_parameter_places_a_sensor_that_tf_does_not_know() -> None:
    pose = (0.1, 0.0, 0.0, 0.0, 0.0, 0.0)
    known, unknown = Mount(np.eye(4)), Mount(None)
    config = MetricScaleConfig(mode="anchors", sources=["range"], range_pose=pose)
    np.testing.assert_array_equal(
        SensorPoses(config, unknown).lookup("range", "sonar", "camera", None), mounted("range", pose)
    )
    np.testing.assert_array_equal(SensorPoses(config, known).lookup("range", "sonar", "camera", None), np.eye(4))


def test_the_ground_follows_tf_and_is_not_known_where_tf_is_not(graph: Graph) -> None:
    """A camera on a mast that is raised, and then a transform that comes no more."""
    low, high = (GroundPlane.from_height(height_m, 0.2) for height_m in (0.5, 0.6))
    mount = Mount(low.levelled_from_optical)
    inputs, scaler = inputs_of(graph, mount, ground_frame="base")
    assert low.same_as(scaler.ground) and not inputs.problems
    for pose, wanted in ((high.levelled_from_optical, high), (None, None), (low.levelled_from_optical, low)):
        mount.pose = pose
        inputs.look_through(scaler, CAMERA, "camera_optical", None)
        assert scaler.ground is None if wanted is None else wanted.same_as(scaler.ground)
        assert ("ground" in inputs.problems) == (wanted is None)
    inputs.destroy()
