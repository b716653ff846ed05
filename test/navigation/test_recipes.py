"""The recipes for other stacks: they parse, name topics that exist, and their heights and ranges fit the node's."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.metric_scale.pose import rotation_from_rpy
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.scan import ScanProjector
from depthnet_ros.parameters import check_values

FOLDER = Path(__file__).resolve().parents[2] / "config" / "nav"
TOPICS = {"/points", "/points/clearing", "/points/clearing_3d", "/scan", "/obstacle/nearest"}


def load(name: str) -> dict:
    return yaml.safe_load((FOLDER / name).read_text())


def node_parameters() -> dict:
    return check_values(load("depthnet_robot.yaml")["/**"]["ros__parameters"])


def test_node_parameters_are_known_and_in_range():
    assert node_parameters()["scale.mode"] == "anchors"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_parses_as_ros_parameters(path):
    tree = load(path.name)
    while "ros__parameters" not in tree:
        assert len(tree) == 1
        tree = next(iter(tree.values()))
    assert tree["ros__parameters"]


@pytest.mark.parametrize(
    ("name", "layer"), [("nav2_obstacle_layer", "obstacle_layer"), ("nav2_voxel_layer", "voxel_layer")]
)
def test_costmap_layers_take_what_the_node_gives(name, layer):
    costmap = load(f"{name}.yaml")["local_costmap"]["local_costmap"]["ros__parameters"]
    settings, node = costmap[layer], node_parameters()
    middle = 0.5 * (node["nav.min_height_m"] + node["nav.max_height_m"])
    plane = GroundPlane.from_height(node["scale.ground_height_m"], node["scale.ground_pitch_rad"])
    band = HeightBand(
        *(node[f"nav.{limit}"] for limit in ("min_height_m", "max_height_m", "min_range_m", "max_range_m"))
    )
    projector = ScanProjector(PinholeCamera.from_fov(640, 480, 1.2), plane.levelled_from_optical)
    in_view_m = projector.band_view(band).nearest_m
    for source in settings["observation_sources"].split():
        entry = settings[source]
        assert entry["topic"] in TOPICS and entry["data_type"] == "PointCloud2"
        assert entry.get("obstacle_min_range", 0.0) == 0.0
        if name == "nav2_voxel_layer":  # its lines clear what was seen through and no more
            assert entry["raytrace_min_range"] == 0.0 and entry["topic"] != "/points/clearing"
        elif entry["marking"]:  # points of what is sure would clear what is unsure before it
            assert not entry["clearing"]
        else:
            assert in_view_m <= entry["raytrace_min_range"] < in_view_m + 0.2
        if entry["marking"]:
            assert entry["obstacle_max_range"] <= node["nav.max_range_m"]
            assert entry["min_obstacle_height"] <= node["nav.min_height_m"]
            assert entry["max_obstacle_height"] >= node["nav.max_height_m"]
        else:  # Nav2 applies the band before it traces rays
            low, high = (middle, middle) if name == "nav2_obstacle_layer" else (band.min_height_m, band.max_height_m)
            assert entry["min_obstacle_height"] < low <= high < entry["max_obstacle_height"]
            assert entry["raytrace_max_range"] >= node["nav.clearing_range_m"]
        farthest_m = max(entry.get("raytrace_max_range", 0.0), entry.get("obstacle_max_range", 0.0))
        assert costmap["width"] == costmap["height"] >= 2 * farthest_m


def test_collision_monitor_takes_what_the_node_gives():
    settings = load("nav2_collision_monitor.yaml")["collision_monitor"]["ros__parameters"]
    sources = {name: settings[name] for name in settings["observation_sources"]}
    assert {source["topic"] for source in sources.values()} <= TOPICS
    node, cloud = node_parameters(), next(s for s in sources.values() if s["type"] == "pointcloud")
    assert cloud["min_height"] <= node["nav.min_height_m"] and cloud["max_height"] >= node["nav.max_height_m"]
    assert cloud.get("min_range", 0.0) == 0.0, "what is too near is among the points"


def test_the_robot_s_scan_frame_is_level_though_its_camera_is_not():
    """The recipe's second transform turns the scan's frame into the image's, as the node has it."""
    text, node = (FOLDER / "depthnet_robot.yaml").read_text(), node_parameters()
    roll, yaw = (float(re.search(rf"--{name} (\S+)", text).group(1)) for name in ("roll", "yaw"))
    pitch = node["scale.ground_pitch_rad"]
    plane = GroundPlane.from_height(node["scale.ground_height_m"], pitch, node["scale.ground_roll_rad"])
    np.testing.assert_allclose(rotation_from_rpy(roll, 0.0, yaw), plane.levelled_from_optical[:3, :3], atol=1e-4)
    assert f"--child-frame-id {node['nav.scan_frame']}" in text
    assert f"--z {node['scale.ground_height_m']}" in text


@pytest.mark.parametrize(
    ("name", "remaps"),
    [
        ("octomap_server", {"cloud_in": "points"}),
        ("rtabmap", {"rgb/image": "image_rect", "rgb/camera_info": "camera_info", "depth/image": "depth/image_rect"}),
        ("depthimage_to_laserscan", {"depth": "depth/image_rect", "depth_camera_info": "depth/camera_info"}),
    ],
)
def test_recipes_of_stacks_with_topic_names_of_their_own_say_what_to_remap(name, remaps):
    (line,) = re.findall(r"^# Remap (.*)\.$", (FOLDER / f"{name}.yaml").read_text(), re.MULTILINE)
    assert dict(pair.split(":=") for pair in line.split(", ")) == remaps


def test_the_lifecycle_example_asks_for_no_bond():
    """Nav2's manager waits four seconds for one by default, and gives up on a node that has none."""
    blocks = re.findall(r"```yaml\n(.*?)```", (FOLDER.parents[1] / "docs" / "navigation.md").read_text(), re.DOTALL)
    (manager,) = [tree for tree in map(yaml.safe_load, blocks) if "lifecycle_manager_depth" in tree]
    settings = manager["lifecycle_manager_depth"]["ros__parameters"]
    assert settings["node_names"] == ["depthnet_node"] and settings["bond_timeout"] == 0.0
