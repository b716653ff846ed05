"""A small rendered world with exact depth: what the replay node, the demo and the tests drive through. No ROS."""

from depthnet_ros.simulation.renderer import Frame, Renderer
from depthnet_ros.simulation.scene import Scene
from depthnet_ros.simulation.scenes import SCENES, create_scene

__all__ = ["SCENES", "Frame", "Renderer", "Scene", "create_scene"]
