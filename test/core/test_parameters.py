"""One declaration: the YAML, the README and the launch file follow it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from depthnet_ros.errors import ConfigError
from depthnet_ros.parameter import Parameter, by_name
from depthnet_ros.parameters import ESSENTIAL, PARAMETERS, check_values, shared_mounting, to_markdown, to_yaml

ROOT = Path(__file__).resolve().parents[2]


def test_names_are_unique_and_defaults_pass_their_own_checks():
    assert len(by_name(PARAMETERS)) == len(PARAMETERS)
    assert check_values({}) == {p.name: p.default for p in PARAMETERS}


def test_shipped_yaml_is_the_declaration():
    text = (ROOT / "config" / "depthnet.yaml").read_text()
    assert text == to_yaml()
    assert yaml.safe_load(text)["/**"]["ros__parameters"] == {p.name: p.default for p in PARAMETERS}


def test_documents_show_the_declaration():
    assert (ROOT / "docs" / "parameters.md").read_text().endswith(f"\n{to_markdown()}")
    essential = to_markdown(by_name(PARAMETERS)[name] for name in ESSENTIAL)
    assert (ROOT / "README.md").read_text().endswith(f"\n{essential}")


def test_every_link_of_the_documents_leads_somewhere():
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("training/**/*.md"), *ROOT.glob("*/README.md")]
    for document in documents:
        for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.relative_to(ROOT)} links to {link}"


def test_launch_file_passes_only_declared_parameters():
    tree = ast.parse((ROOT / "launch" / "depthnet.launch.py").read_text())
    table = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "PARAMETERS"
    )
    names = {key.value for key in table.keys}
    assert names - set(by_name(PARAMETERS)) == {"use_sim_time"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"points.strid": 2}, r"unknown parameters \['points.strid'\]"),
        ({"points.stride": 0}, r"must lie in 1\.\.64, got 0"),
        ({"points.stride": 2.5}, "must be of type int"),
        ({"points.stride": True}, "must be of type int"),
        ({"max_rate_hz": float("nan")}, "must be finite"),
        ({"backend": "caffe"}, "must be one of auto, torch"),
        ({"cameras": "front"}, "must be a list"),
        ({"cameras": [1]}, "must be of type str"),
        ({"scale.min_depth_m": 50.0}, "must be below"),
        ({"nav.voxel_size_m": 1e-30}, "nav.voxel_size_m must be at least 0.001, or 0 for all points, got 1e-30"),
    ],
)
def test_faults_are_named(values, complaint):
    with pytest.raises(ConfigError, match=complaint):
        check_values(values)


def test_integers_serve_as_floats():
    assert check_values({"max_rate_hz": 5})["max_rate_hz"] == 5.0


def test_open_ranges_are_shown_open():
    assert Parameter("x", 1, "", minimum=0).range_text() == "0.."


def test_a_mounting_that_is_declared_once_for_several_cameras_is_warned_of():
    both, height = {"cameras": ["front", "rear"]}, {"scale.ground_height_m": 0.4}
    assert "scale.ground_height_m" in shared_mounting(check_values({**both, **height}))
    assert "nav.corridor_offset_m" in shared_mounting(check_values({**both, "nav.corridor_offset_m": -0.1}))
    assert not shared_mounting(check_values(height)) and not shared_mounting(check_values(both))
