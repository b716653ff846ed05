"""Recordings in, numbers and new recordings out. ``rosbags`` reads and writes them: no ROS installation is needed."""
