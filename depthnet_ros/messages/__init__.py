"""ROS messages by their fields alone: for the node, whose messages rclpy makes, and for recordings read without it."""
