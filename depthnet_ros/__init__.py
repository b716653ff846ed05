"""DepthNet: depth from one camera for ROS 2 robots.

The numerics (``models``, ``inference``, ``geometry``, ``metric_scale``, ``evaluation``) never import ROS; only ``ros``
does.
"""

__version__ = "0.1.0"
