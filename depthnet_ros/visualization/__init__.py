"""Pictures, point clouds and tables for people to look at. No ROS, no torch."""
