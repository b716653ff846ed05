"""What planners take out of metric depth: scans, clearing points, the corridor, heights. No ROS."""
