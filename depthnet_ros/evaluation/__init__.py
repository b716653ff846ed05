"""Judging depth: alignment, metrics, reports. Shared by training and by recordings; never imports ROS or torch."""
