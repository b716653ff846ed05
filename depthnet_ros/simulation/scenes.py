"""The scenes there are, by name."""

from __future__ import annotations

from depthnet_ros.errors import ConfigError
from depthnet_ros.simulation.room import build_room
from depthnet_ros.simulation.scene import Scene
from depthnet_ros.simulation.street import build_street

SCENES = {"room": build_room, "street": build_street}


def create_scene(name: str = "room", seed: int = 0) -> Scene:
    """A scene by name; ``seed`` decides its textures.

    Raises:
        ConfigError: there is no scene of that name.
    """
    if name not in SCENES:
        raise ConfigError(f"no scene named {name!r}; there are {', '.join(SCENES)}")
    return SCENES[name](seed)
