"""Messages published from memory that is written in place: what arrives, by either way of handing them over."""

import numpy as np
import pytest
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from depthnet_ros.geometry.cloud import WHOLE_POINTS
from depthnet_ros.ros import in_place, serialized
from depthnet_ros.ros.conversions import cloud_message
from depthnet_ros.ros.serialized import SerializedMessage, publish_function

QOS = QoSProfile(depth=5)


@pytest.fixture
def node(ros_domain):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    made = rclpy.create_node("in_place", context=context)
    yield made
    made.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture(params=["serialized", "messages", "refused"])
def way(request, monkeypatch):
    if request.param == "messages":
        monkeypatch.setattr(serialized, "publish_function", lambda: None)
    if request.param == "refused":
        monkeypatch.setattr(serialized, "publish_function", lambda: lambda *_: 1)
    return request.param


def received(node, kind, fill, headers):
    """What arrives when ``fill`` writes and each header is published."""
    got, executor = [], rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    publisher = rclpy.lifecycle.publisher.LifecyclePublisher
    made = node.create_publisher(kind, "topic", QOS, publisher_class=publisher)
    made.on_activate(None)
    node.create_subscription(kind, "topic", got.append, QOS)
    while made.get_subscription_count() == 0:
        executor.spin_once(timeout_sec=0.1)
    output = in_place.InPlacePublisher(made)
    for index, header in enumerate(headers):
        fill(output, index)
        output.publish(header)
        for _ in range(100):
            if len(got) > index:
                break
            executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    return got


def header(second, frame_id):
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = second, 7
    return made


def test_images(node, way):
    def fill(output, index):
        output.pixels("32FC1", 3, 5 + index // 2)[:] = index

    headers = [header(1, "a"), header(2, "a"), header(3, "another_frame"), header(4, "a")]
    got = received(node, Image, fill, headers)
    assert [m.header for m in got] == headers
    assert [(m.width, m.height, m.step, m.encoding) for m in got[1:3]] == [(5, 3, 20, "32FC1"), (6, 3, 24, "32FC1")]
    for index, message in enumerate(got):
        assert (np.frombuffer(message.data, "<f4") == index).all()


def test_another_encoding_of_the_same_size_is_another_message(node, way):
    def fill(output, index):
        output.pixels(("32FC1", "16UC1")[index % 2], 3, 5)[:] = index

    got = received(node, Image, fill, [header(second, "a") for second in (1, 2, 3)])
    assert [(m.encoding, m.step) for m in got] == [("32FC1", 20), ("16UC1", 10), ("32FC1", 20)]
    for index, message in enumerate(got):
        assert (np.frombuffer(message.data, ("<f4", "<u2")[index % 2]) == index).all()


def test_clouds(node, way):
    def fill(output, index):
        output.points(2, 3)[:] = np.arange(24, dtype=np.float32).reshape(2, 3, 4) + index

    (cloud,) = received(node, PointCloud2, fill, [header(9, "camera_optical")])
    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step, cloud.is_dense) == (3, 2, 16, 48, False)
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"]
    np.testing.assert_array_equal(np.frombuffer(cloud.data, "<f4"), np.arange(24))
    assert cloud.header == header(9, "camera_optical")


def test_a_message_that_stays_the_same_but_for_its_header(node, way):
    info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.5, 0.25])
    headers = [header(1, "a"), header(2, "a"), header(3, "another_frame")]
    got = received(node, CameraInfo, lambda output, index: output.hold(info), headers)
    assert [m.header for m in got] == headers
    assert {(m.width, m.height, m.distortion_model, tuple(m.d)) for m in got} == {(640, 480, "plumb_bob", (0.5, 0.25))}


def test_payloads_lie_beside_the_alignment_that_sends_packing_past_the_caches():
    for frame_id in ("", "a", "ab", "abc", "camera_optical_frame"):
        message = SerializedMessage(cloud_message(np.zeros((3, 5, 4), np.float32), Header()), frame_id)
        assert message.payload.ctypes.data % WHOLE_POINTS == 4


def test_an_inactive_publisher_stays_silent(node, way):
    made = node.create_publisher(Image, "topic", QOS, publisher_class=rclpy.lifecycle.publisher.LifecyclePublisher)
    got = []
    node.create_subscription(Image, "topic", got.append, QOS)
    output = in_place.InPlacePublisher(made)
    output.pixels("16UC1", 2, 2)[:] = 1
    output.publish(header(1, "a"))
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    for _ in range(5):
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    assert got == []


def test_the_library_is_found_where_the_wheels_or_an_installation_put_it(node):
    assert publish_function() is not None
