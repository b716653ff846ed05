"""Whether range finders and the floor contradict points that determine scale by themselves."""

from __future__ import annotations

import math
from dataclasses import replace

from depthnet_ros.metric_scale.evidence import Evidence
from depthnet_ros.metric_scale.view_depth import estimate_view_depth

MOST_CAUTION = 10.0
"""Times nearer that things may be, at most: by then next to nothing is free, and an estimate whose far end lies beyond
infinity has any number."""
_EVERY = 10  # frames between two comparisons: one takes as long as a fit
_PATIENCE = 30  # frames without any witness, after which the last contradiction is forgotten
_LEAST_OFF = 0.4  # log of how many times nearer or farther points must be to contradict ...
_LEAST_OFF_SIGMAS = 3.0  # ... and standard deviations of what the witnesses say
_LEAST_LEVEL = 1e-9  # 1/m, a numerical guard: no logarithm of zero
_CLEARLY_FLOOR = 0.5  # share of the view below the horizon that looks like floor, from which a floor may say it alone


class Witnesses:
    """Remembers the last comparison while a range finder that is slower than the camera is awaited.

    Attributes:
        notes: the contradiction, one line; empty: there is none.
        too_far_by: factor by which points put everything farther than range finders or the floor do; 1 where they agree
            or put it nearer.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """As before the first comparison."""
        self._frames_since_asked = _EVERY
        self._frames_without_witness = 0
        self.acquit()

    def acquit(self) -> None:
        """Nothing is contradicted any more."""
        self.notes: tuple[str, ...] = ()
        self.too_far_by = 1.0

    def look(self, evidence: Evidence, level: float) -> None:
        """One frame whose points determine scale.

        Args:
            evidence: of the frame.
            level: inverse depth of the view's median by its points, 1/m.
        """
        heard = any(cone.measured for cone in evidence.cones)
        self._frames_since_asked += 1
        if not heard and (evidence.floor is None or not evidence.floor.height_known):
            self._frames_without_witness += 1
            if self._frames_without_witness > _PATIENCE:
                self.acquit()
            return
        self._frames_without_witness = 0
        if self._frames_since_asked >= _EVERY:
            self._frames_since_asked = 0
            self._compare(evidence, level, heard)

    def _compare(self, evidence: Evidence, level: float, heard: bool) -> None:
        theirs = estimate_view_depth(replace(evidence, points=[]))
        their_level, their_sigma = float(theirs.state[1]), math.sqrt(theirs.covariance[1, 1])
        nearer = math.log(max(level, _LEAST_LEVEL) / their_level)  # of all by the points; negative: farther
        sure = heard or (theirs.floor_share or 0.0) > _CLEARLY_FLOOR
        self.acquit()
        if sure and abs(nearer) > max(_LEAST_OFF, _LEAST_OFF_SIGMAS * their_sigma / their_level):
            which = "nearer" if nearer > 0 else "farther"
            everything = f"points: everything is {math.exp(abs(nearer)):.1f} times {which}"
            self.notes = (f"{everything} than range finders or floor say: one of them is wrong",)
            self.too_far_by = min(max(math.exp(-nearer), 1.0), MOST_CAUTION)
