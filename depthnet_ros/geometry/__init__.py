"""Camera models, lenses, rectification, unprojection and clouds. No ROS, no torch."""
