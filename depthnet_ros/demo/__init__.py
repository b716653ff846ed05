"""``python -m depthnet_ros.demo``: depth from a camera stream on a real ROS graph, results as files."""
