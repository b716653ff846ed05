"""From an image to relative inverse depth: pre-processing, backends, post-processing. No ROS; torch only in its backend."""
