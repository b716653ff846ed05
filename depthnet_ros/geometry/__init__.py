"""Camera models, unprojection and scans. No ROS, no torch."""
