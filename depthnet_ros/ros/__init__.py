"""The ROS 2 side: nodes, messages, parameters and diagnostics. The only package here that imports ROS."""
