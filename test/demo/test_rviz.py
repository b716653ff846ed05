"""The RViz view asks for topics that exist and for a reliability that always matches."""

from pathlib import Path

import yaml

from depthnet_ros.ros.camera_outputs import METRIC_TOPICS, RELATIVE_TOPICS
from depthnet_ros.ros.navigation_outputs import NAVIGATION_TOPICS
from depthnet_ros.sources.parameters import REPLAY_PARAMETERS

VIEW = Path(__file__).resolve().parents[2] / "rviz" / "depthnet.rviz"
FROM_REPLAY = {"image", "sonar"}


def test_view():
    manager = yaml.safe_load(VIEW.read_text())["Visualization Manager"]
    topics = {
        display["Topic"]["Value"].removeprefix("/"): display for display in manager["Displays"] if "Topic" in display
    }
    assert topics.keys() <= {*RELATIVE_TOPICS, *METRIC_TOPICS, *NAVIGATION_TOPICS, *FROM_REPLAY}
    assert {"image", "depth/preview", "points"} <= topics.keys()
    assert all(display["Topic"]["Reliability Policy"] == "Best Effort" for display in topics.values())
    (frame,) = (parameter.default for parameter in REPLAY_PARAMETERS if parameter.name == "frame_id")
    assert manager["Global Options"]["Fixed Frame"] == frame
