"""Renders a world in MegaDepth's layout: ``python -m training.synthetic.render --world torcs --out DIR --frames N``.

Scene ``<world>-<scene>/dense0`` gets ``imgs/<n>.jpg`` and ``depths/<n>.h5``. The depth is exact, in metres, 0 where
there is none, as in MegaDepth; that is the sky, so the same file has a mask ``sky`` (uint8, 1 = sky) that MegaDepth's
own readers ignore and :mod:`training.datasets.megadepth` can use.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from depthnet_ros.errors import ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.models.spec import MOST_PX
from training.command import command
from training.datasets.write_megadepth import write_pair
from training.outputs import writing
from training.synthetic.closeup import CloseUp
from training.synthetic.errors import AssetError
from training.synthetic.interior import Interior
from training.synthetic.lighting import random_lighting
from training.synthetic.openarena import OpenArena
from training.synthetic.quality import fault_of_depth, fault_of_picture
from training.synthetic.renderer import Frame, Renderer
from training.synthetic.stilllife import StillLife
from training.synthetic.street import Street
from training.synthetic.supertuxkart import SuperTuxKart
from training.synthetic.torcs import Torcs
from training.synthetic.world import Scene, World

WORLDS: dict[str, Callable[[], World]] = {
    Torcs.name: Torcs,
    SuperTuxKart.name: SuperTuxKart,
    OpenArena.name: OpenArena,
    StillLife.name: StillLife,
    Street.name: Street,
    Interior.name: Interior,
    CloseUp.name: CloseUp,
}
_MAX_TRIES_PER_FRAME = 12
_LEAST_PX = 16


@dataclass(frozen=True)
class Job:
    """What to render.

    Raises:
        ConfigError: a number out of its range.
    """

    world: str
    out: Path
    frames: int
    seed: int
    first_scene: int
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.frames < 1 or min(self.seed, self.first_scene) < 0:
            got = f"{self.frames}, {self.seed} and {self.first_scene}"
            raise ConfigError(f"--frames must be at least 1, --seed and --first-scene not negative, got {got}")
        if not all(_LEAST_PX <= side <= MOST_PX for side in (self.width_px, self.height_px)):
            raise ConfigError(f"--size must be {_LEAST_PX} to {MOST_PX} px, got {self.width_px}x{self.height_px}")


def good_frames(
    scene: Scene, renderer: Renderer, count: int, rng: np.random.Generator, faults: Counter[str]
) -> Iterator[Frame]:
    """Up to ``count`` frames of a scene that pass the checks; counts why others did not."""
    made = 0
    for _ in range(count * _MAX_TRIES_PER_FRAME):
        if made == count:
            return
        view = scene.propose(rng)
        camera = PinholeCamera.from_fov(renderer.width_px, renderer.height_px, view.horizontal_fov_rad)
        fault = fault_of_depth(renderer.depth(view.placed, view.pose, camera), scene.limits)
        if fault is None:
            lighting = random_lighting(rng, scene.indoor)
            frame = renderer.render(view.placed, view.pose, camera, lighting, rng, view.shadows)
            fault = fault_of_picture(frame)
        if fault is not None:
            faults[fault] += 1
            continue
        made += 1
        yield frame


def render(job: Job) -> dict[str, int]:
    """Renders all scenes of a world in turn, equally many frames each; returns frames written and faults by reason.

    Raises:
        AssetsMissingError: the game is not installed.
        NoRendererError: moderngl or EGL is missing.
        ConfigError: the world has no more scenes than ``first_scene`` passes over.
        OutputError: a frame cannot be written.
    """
    world: World = WORLDS[job.world]()
    names, faults, written = world.scene_names()[job.first_scene :], Counter[str](), 0
    if not names:
        raise ConfigError(
            f"--first-scene {job.first_scene} passes over all {len(world.scene_names())} scenes of {job.world}"
        )
    with writing(job.out):
        job.out.mkdir(parents=True, exist_ok=True)
    if world.views_per_scene is not None:
        names = names[: -(-job.frames // world.views_per_scene)]
    with tqdm(total=job.frames, desc=job.world, unit="frame", mininterval=1.0) as progress:
        for index, name in enumerate(names):
            if written == job.frames:
                break
            share = -(-(job.frames - written) // (len(names) - index))
            rng = np.random.default_rng((job.seed, job.first_scene + index))
            with closing(Renderer(job.width_px, job.height_px)) as renderer:
                try:
                    scene = world.load(name, renderer)
                except (AssetError, ValueError) as error:  # the second of a number that is none, in a text
                    progress.write(f"left out: {error}")
                    continue
                folder = job.out / f"{job.world}-{name}" / "dense0"
                for number, frame in enumerate(good_frames(scene, renderer, share, rng, faults)):
                    with writing(folder):
                        write_pair(folder, f"{number:05d}", frame.rgb, frame.depth_m, camera=frame.camera)
                    written += 1
                    progress.update()
    return {"written": written, **{f"rejected: {reason}": n for reason, n in faults.most_common()}}


@command()
def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--world", choices=sorted(WORLDS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one folder a scene")
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first-scene", type=int, default=0, help="pass over so many scenes of the sorted list")
    parser.add_argument("--size", default="320x240", help="WIDTHxHEIGHT in pixels")
    args = parser.parse_args(arguments)
    if not (size := re.fullmatch(r"(\d+)x(\d+)", args.size)):
        parser.error(f"--size must be WIDTHxHEIGHT, such as 320x240, got {args.size!r}")
    width_px, height_px = size.groups()
    report = render(Job(args.world, args.out, args.frames, args.seed, args.first_scene, int(width_px), int(height_px)))
    print(json.dumps(report, indent=2))
    return 0 if report["written"] else 1


if __name__ == "__main__":
    sys.exit(main())
