"""``python -m depthnet_ros.cli`` is ``depthnet``."""

import sys

from depthnet_ros.cli import main

sys.exit(main())
