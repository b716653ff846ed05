"""The recipes for other stacks: they parse, name topics that exist, and their heights and ranges fit the node's."""

from pathlib import Path

import pytest
import yaml

from depthnet_ros.parameters import check_values

FOLDER = Path(__file__).resolve().parents[2] / "config" / "nav"
TOPICS = {"/points", "/points/clearing", "/scan", "/obstacle/nearest"}


def load(name: str) -> dict:
    return yaml.safe_load((FOLDER / name).read_text())


def node_parameters() -> dict:
    return check_values(load("depthnet_robot.yaml")["/**"]["depthnet_node"]["ros__parameters"])


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
    settings = load(f"{name}.yaml")["local_costmap"]["local_costmap"]["ros__parameters"][layer]
    node = node_parameters()
    middle = 0.5 * (node["nav.min_height_m"] + node["nav.max_height_m"])
    for source in settings["observation_sources"].split():
        entry = settings[source]
        assert entry["topic"] in TOPICS and entry["data_type"] == "PointCloud2"
        if entry["marking"]:
            assert entry["obstacle_max_range"] <= node["nav.max_range_m"]
            assert entry["min_obstacle_height"] <= node["nav.min_height_m"]
            assert entry["max_obstacle_height"] >= node["nav.max_height_m"]
        else:  # Nav2 applies the band before it traces rays
            assert entry["min_obstacle_height"] < middle < entry["max_obstacle_height"]
            assert entry["raytrace_max_range"] >= node["nav.clearing_range_m"]


def test_collision_monitor_takes_what_the_node_gives():
    settings = load("nav2_collision_monitor.yaml")["collision_monitor"]["ros__parameters"]
    assert {settings[source]["topic"] for source in settings["observation_sources"]} <= TOPICS
