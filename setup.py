"""ament_python package; `pip install .` works as well."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "depthnet_ros"
SHARE = f"share/{NAME}"
ROOT = Path(__file__).resolve().parent  # colcon build --symlink-install runs a link to this file in a folder of its own
REQUIREMENTS = [
    line for line in (ROOT / "requirements/runtime.txt").read_text().splitlines() if line and line[0] != "#"
]


def shared(folder: str, *patterns: str) -> tuple[str, list[str]]:
    """One data_files entry: what matches in ``folder`` goes to the same folder below share/."""
    return f"{SHARE}/{folder}", sorted(path for pattern in patterns for path in glob(f"{folder}/{pattern}"))


setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        shared("launch", "*.launch.py"),
        shared("config", "*.yaml", "*.xml"),
        shared("config/nav", "*.yaml"),
        shared("config/models", "*.yaml"),
        shared("rviz", "*.rviz"),
        shared("weights", "*.safetensors", "*.onnx", "*.yaml", "*.npz", "*.md", "LICENSE"),
    ],
    package_data={NAME: ["py.typed"]},
    python_requires=">=3.10",
    install_requires=REQUIREMENTS,
    extras_require={"torch": ["torch"], "openvino": ["openvino"], "test": ["pytest"]},  # colcon test looks for pytest
    zip_safe=False,
    maintainer="depthnet_ros authors",
    maintainer_email="authors@depthnet-ros.dev",
    description="Depth images, point clouds and scans from one camera, for robots without a lidar.",
    license="Apache-2.0",  # of the code; weights/LICENSE has the weights'
    entry_points={
        "console_scripts": [
            "depthnet_node = depthnet_ros.ros.run:depthnet_node",
            "camera_replay = depthnet_ros.ros.run:camera_replay",
            "flight_scan = depthnet_ros.ros.run:flight_scan",
            "depthnet = depthnet_ros.cli:main",
        ],
    },
)
