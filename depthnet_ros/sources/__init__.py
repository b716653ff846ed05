"""Where pictures come from: folders, videos, cameras, recordings, the scene renderer. No ROS."""

from depthnet_ros.sources.base import Source, SourceFrame, SourceOptions
from depthnet_ros.sources.opening import open_source

__all__ = ["Source", "SourceFrame", "SourceOptions", "open_source"]
