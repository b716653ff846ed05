"""Everything that makes weights: data, losses, the training loop and its evaluation. Never imports ROS."""
