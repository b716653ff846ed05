"""The allocator's setting, seen in page faults of a process of its own."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from depthnet_ros.memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    print(-1)
    sys.exit()
for _ in range(3):
    np.add(np.full((2160, 3840), 1.0, np.float32), 1.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.add(np.full((2160, 3840), 1.0, np.float32), 1.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_freed_images_are_used_again():
    kept = faults("keep")
    if kept < 0:
        pytest.skip("this C library has no mallopt")
    assert kept < 0.2 * faults("default")
