"""What the estimate of scale is worth, in five states, and when it passes from one to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depthnet_ros.metric_scale.config import MetricScaleConfig, ScaleState

_SHARE_GAIN = 0.15  # per frame, of a running mean: how often anchors determine scale and shift
_POOR_FIT = 0.2  # difference between the depth of anchors and the estimated one, more than a network's usual error
_OUT_OF_ORDER_S = 1.0  # a stamp that is earlier by more is of another run; by less, one frame has overtaken another
_USUAL = 1.5  # times the gap between the two frames before, up to which a gap is normal for a camera
_SELDOM = 0.5  # share of frames of late whose anchors determine scale and shift, below which that is told


class FrameClock:
    """Time from frame to frame, by their stamps.

    Attributes:
        ran_back: the last stamp was long before the one before it: all that was known of times is of another run.
    """

    def __init__(self) -> None:
        self._last_s: float | None = None
        self.ran_back = False

    def advance(self, stamp_s: float) -> float:
        """Seconds since the frame before; 0 of the first, of one that another has overtaken, and where time ran
        back.
        """
        last_s, self.ran_back = self._last_s, False
        if last_s is None or stamp_s >= last_s:
            self._last_s = stamp_s
            return 0.0 if last_s is None else stamp_s - last_s
        if last_s - stamp_s > _OUT_OF_ORDER_S:
            self._last_s, self.ran_back = stamp_s, True
        return 0.0


@dataclass(frozen=True)
class FrameOutcome:
    """What a frame has done to the estimate of scale.

    Attributes:
        accepted: anchors of this frame were taken in.
        rejected: frames rejected in a row.
        well_posed: this frame's anchors determine scale and shift; None if no sensor measured.
        relative_sigma: of the estimate.
        troubles: what is wrong with sensors, one line each.
        misfit: how much anchors and estimated depth differ, as a share of depth.
    """

    accepted: bool
    rejected: int
    well_posed: bool | None
    relative_sigma: float
    troubles: Sequence[str] = ()
    misfit: float = 0.0


class StateMachine:
    """Passes from state to state, once per frame. Time is that of the frames' stamps."""

    def __init__(self, config: MetricScaleConfig) -> None:
        self._config = config
        self.state = ScaleState.UNCALIBRATED
        self.reason = "no anchor yet"
        self._streak = 0
        self._last_accepted_s: float | None = None
        self._last_step_s: float | None = None
        self._interval_s = 0.0
        self._apart_s = 0.0
        self._well_posed_s: float | None = None
        self._well_posed_share: float | None = None

    def age_s(self, now_s: float) -> float:
        """Time since the last accepted anchors; infinite before the first."""
        return float("inf") if self._last_accepted_s is None else max(now_s - self._last_accepted_s, 0.0)

    def time_jumped(self) -> None:
        """Stamps ran back: what is known of scale stands, but has to be confirmed."""
        self._last_accepted_s = self._last_step_s = self._well_posed_s = self._well_posed_share = None
        self._streak, self._interval_s = 0, 0.0
        if self.state is not ScaleState.UNCALIBRATED:
            self.state, self.reason = ScaleState.CALIBRATING, "time ran back"

    def look(self, now_s: float) -> bool:
        """Called before each frame: turns STALE if the last accepted anchors are older than ``stale_after_s``. Cameras
        that are regularly slower than that, and bring anchors each time, are allowed 1.5 times their own interval.
        Returns whether scale is in use.
        """
        running = self.state in (ScaleState.CALIBRATED, ScaleState.DEGRADED)
        allowed_s = self._config.stale_after_s
        if self._last_step_s == self._last_accepted_s:
            allowed_s = max(allowed_s, _USUAL * self._interval_s)
        if running and self.age_s(now_s) > allowed_s:
            self.state, self._streak = ScaleState.STALE, 0
            return False
        return running

    def step(self, now_s: float, outcome: FrameOutcome) -> ScaleState:
        """One frame; ``now_s``: its stamp. The state that it leads to."""
        if self._last_step_s is not None:
            self._interval_s = max(now_s - self._last_step_s, 0.0)
        self._last_step_s = now_s
        if outcome.accepted:
            self._streak += 1
            if self._last_accepted_s is not None:
                self._apart_s = now_s - self._last_accepted_s
            self._last_accepted_s = now_s
            if (well_posed := outcome.well_posed) is not None:
                last = float(well_posed) if self._well_posed_share is None else self._well_posed_share
                self._well_posed_share = last + _SHARE_GAIN * (well_posed - last)
            if well_posed:
                self._well_posed_s = now_s
        elif outcome.rejected:
            self._streak = 0
        self.state, self.reason = self._next(now_s, outcome)
        return self.state

    def _next(self, now_s: float, outcome: FrameOutcome) -> tuple[ScaleState, str]:
        config, age = self._config, self.age_s(now_s)
        if self._last_accepted_s is None:
            if self.state is ScaleState.UNCALIBRATED:
                return self.state, "; ".join(outcome.troubles) or "no usable anchor yet"
            return ScaleState.CALIBRATING, self.reason
        if age > config.stale_after_s:
            self._streak = 0
            against = [f"{outcome.rejected} frames in a row contradict what was known"] if outcome.rejected > 1 else []
            why = [f"no anchor accepted for {age:.2f} s{self._slow()}", *against, *outcome.troubles]
            return ScaleState.STALE, "; ".join(why)
        running = self.state in (ScaleState.CALIBRATED, ScaleState.DEGRADED)
        if not running and self._streak < config.calibrate_frames:
            return (
                ScaleState.CALIBRATING,
                f"{self._streak} of {config.calibrate_frames} consistent frames{self._slow()}",
            )
        if outcome.relative_sigma > config.degraded_sigma:
            return ScaleState.CALIBRATING, f"scale is known only to within {outcome.relative_sigma:.0%}"
        weak = list(outcome.troubles)
        if outcome.rejected:
            weak.append(f"anchors contradict the estimate in the last {outcome.rejected} frames")
        if outcome.misfit > max(_POOR_FIT, config.network_sigma):
            weak.append(f"anchors and estimated depth differ by {outcome.misfit:.0%}")
        if outcome.relative_sigma > config.calibrated_sigma:
            weak.append(f"scale is known only to within {outcome.relative_sigma:.0%}")
        seldom = (self._well_posed_share or 0.0) < _SELDOM
        if seldom or self._well_posed_s is None or now_s - self._well_posed_s > config.stale_after_s:
            weak.append(
                "anchors determine only one of scale and shift; the other comes from a prior or from earlier frames"
            )
        if age > config.source_timeout_s:
            weak.append(f"no anchor accepted for {age:.2f} s")
        return (ScaleState.DEGRADED, "; ".join(weak)) if weak else (ScaleState.CALIBRATED, "")

    def _slow(self) -> str:
        """What to change where anchors regularly come too seldom."""
        limit_s = self._config.stale_after_s
        return (
            f" (they come {self._apart_s:.2f} s apart: scale.stale_after_s is {limit_s:g})"
            if self._apart_s > limit_s
            else ""
        )
