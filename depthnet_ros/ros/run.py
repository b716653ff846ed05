"""The executables: bring a node up, keep it up, take it down.

Nothing heavy is imported before the signal handlers stand: SIGINT, SIGTERM and SIGHUP end the process cleanly at any
moment.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.executors import Executor
    from rclpy.node import Node

_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
_GRACE_S = 1.5
"""For an orderly end, usually a few tenths. ros2 launch sends SIGTERM 5 s after SIGINT, and SIGKILL 5 s later."""
_LAST_RESORT_S = 4
"""Whole seconds to the kernel's alarm: later than the watchdog of `_GRACE_S`, earlier than launch's SIGTERM."""
_LOG_PERIOD_S = 5.0
_LOOK_S = 0.5
"""How often the main thread wakes to run what handlers of signals are due."""
_SWITCH_S = 0.0002
"""Longest that a thread of Python waits for another: by default 5 ms, most of a network's time."""


class Stop:
    """Asks for the end, from any thread and from a signal's handler.

    What ``threading.Event`` is for, but its ``set`` takes a lock that the main thread may hold where the handler
    interrupts it, be it in ``wait`` or in the ``set`` of the signal before, and then neither goes on: two signals in a
    row are enough. ``SimpleQueue.put`` is made for handlers.
    """

    def __init__(self) -> None:
        self._asked = False
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Ask."""
        self._asked = True
        self._queue.put(None)

    def is_set(self) -> bool:
        """Whether somebody has."""
        return self._asked

    def wait(self) -> None:
        """Until somebody does; in one thread only.

        It looks around now and then: a signal that came while the process was stopped (Ctrl-Z, then ``kill``) goes to
        any thread when it continues, and the main thread, in which alone Python's handlers run, is not woken.
        """
        while not self._asked:
            with suppress(queue.Empty):
                self._queue.get(timeout=_LOOK_S)


class _Signals:
    """SIGINT, SIGTERM and, where it is not ignored (``nohup``), SIGHUP, which comes when a terminal is closed or SSH
    breaks off: leave at once before ROS is up, later wake the main thread for an orderly end.

    Who just vanishes leaves the middleware's shared memory behind, 35 MB, and a node that is started again and again
    fills it.
    """

    def __init__(self) -> None:
        self.nothing_made = self.starting = True
        self.stop = Stop()
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.nothing_made:
            os._exit(0)  # a library may be deep in loading, and could not be interrupted
        if self.starting and not self.stop.is_set():
            _end_at_the_latest(0)  # nor can a network that is being loaded
        self.stop.set()


def run_node(make_node: Callable[[], Node], sends_images: bool = True) -> None:
    """Make the node, bring it up if it is a lifecycle node with ``autostart``, spin until SIGINT, SIGTERM or shutdown.

    What ``sends_images`` takes room in shared memory for them, where the middleware's settings are left to us.
    Exits with status 1 and one line of explanation where the node cannot start; else with the node's ``exit_status``,
    where it has one.
    """
    signals = _Signals()
    if sends_images:
        _make_room()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from depthnet_ros.memory import keep_freed_memory

    keep_freed_memory()
    sys.setswitchinterval(_SWITCH_S)

    # rclpy's own handlers would tear the context down under a publishing worker.
    def make() -> tuple[Node, Executor]:
        signals.nothing_made = False
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        # Before the node: one whose thread has already ended the context, since its source cannot be read, leaves none
        # to make an executor in.
        executor = SingleThreadedExecutor()
        return make_node(), executor

    node, executor = _made(make)
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor, node, signals.stop), name="executor", daemon=True)
    started = signals.stop.is_set() or _autostart(node)
    signals.starting = False
    if started:
        spinner.start()
        signals.stop.wait()
    _leave(node, executor, spinner, getattr(node, "exit_status", 0) if started else 1)


def _make_room() -> None:
    from depthnet_ros.middleware import room_for_images

    lacking, problem = room_for_images()
    os.environ.update(lacking)
    if problem:
        print(f"WARNING: {problem}", file=sys.stderr, flush=True)


def _made(make: Callable[[], tuple[Node, Executor]]) -> tuple[Node, Executor]:
    from depthnet_ros.errors import ConfigError, missing_package

    try:
        return make()
    except ConfigError as error:
        reason = str(error)
    except ModuleNotFoundError as error:
        reason = missing_package(error)
    except Exception as error:  # rclpy's own checks of parameters, their file and arguments
        if not type(error).__module__.startswith("rclpy"):
            raise
        reason = str(error)
    print(f"cannot start: {with_remedy(reason)}", file=sys.stderr, flush=True)
    _end_at_the_latest(1)
    gc.collect()  # what there is of the node, with its shared memory
    os._exit(1)


def with_remedy(reason: str) -> str:
    """What ROS says as it starts, with what mends it where that is its folder for logs."""
    remedy = "set ROS_LOG_DIR to a folder that can be written to"
    return f"{reason}; {remedy}" if "initialize logging" in reason else reason


def _autostart(node: Node) -> bool:
    from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

    if not isinstance(node, LifecycleNode) or not node.get_parameter("autostart").value:
        return True
    for transition in (node.trigger_configure, node.trigger_activate):
        if transition() != TransitionCallbackReturn.SUCCESS:
            node.get_logger().fatal("cannot start: see the error above (autostart:=false keeps the node for a manager)")
            return False
    return True


def _spin(executor: Executor, node: Node, stop: Stop) -> None:
    import rclpy
    from rclpy.executors import ExternalShutdownException, ShutdownException

    while not stop.is_set():
        try:
            executor.spin()
        except (ExternalShutdownException, ShutdownException):
            break
        except Exception:  # of one callback; the next message is another chance
            # The executor or the context was shut down beneath it: rclpy looks at what is gone then.
            if stop.is_set() or not rclpy.ok():
                break
            node.get_logger().error(traceback.format_exc(), throttle_duration_sec=_LOG_PERIOD_S)
        else:
            break
    stop.set()


def _leave(node: Node, executor: Executor, spinner: threading.Thread, status: int) -> None:
    """Orderly, but within the time a launch system waits before it kills."""
    import rclpy
    from rclpy.lifecycle import LifecycleNode

    for number in _SIGNALS:  # asked once is enough; to an interpreter that ends it is death
        signal.signal(number, signal.SIG_IGN)
    _end_for_certain()
    watchdog = _end_at_the_latest(status)
    executor.shutdown(timeout_sec=0.5)
    if spinner.is_alive():
        spinner.join(0.5)
    if spinner.is_alive():  # in a transition, loading a network say: neither it nor the node can be taken apart
        os._exit(status)
    if isinstance(node, LifecycleNode):
        with suppress(Exception):  # rcl's, where a manager has shut it down already
            node.trigger_shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    watchdog.cancel()
    sys.exit(status)


def _end_at_the_latest(status: int) -> threading.Timer:
    watchdog = threading.Timer(_GRACE_S, os._exit, (status,))
    watchdog.daemon = True
    watchdog.start()
    return watchdog


def _end_for_certain() -> None:
    """By the kernel's alarm: the watchdog is a thread of Python, and does nothing while a library waits with Python's
    lock in its hands, nor while the interpreter itself is taken down.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LAST_RESORT_S)


def depthnet_node() -> None:
    """Executable ``depthnet_node``."""
    # Fast DDS then sends from a thread of its own: the worker packs the cloud while the depth image is under way, and
    # does not wait for a slow subscriber. Other middleware takes no notice; who sets it otherwise has his way.
    os.environ.setdefault("RMW_FASTRTPS_PUBLICATION_MODE", "ASYNCHRONOUS")

    def make() -> Node:
        import cv2

        from depthnet_ros.ros.depth_node import DepthNode

        # While a message is being sent, the worker would wait for OpenCV's second thread to get hold of that core:
        # longer than it saves on pictures of a camera.
        cv2.setNumThreads(1)
        return DepthNode()

    run_node(make)


def camera_replay() -> None:
    """Executable ``camera_replay``."""

    def make() -> Node:
        from depthnet_ros.ros.camera_replay import CameraReplay

        return CameraReplay()

    run_node(make)


def flight_scan() -> None:
    """Executable ``flight_scan``."""

    def make() -> Node:
        from depthnet_ros.ros.flight_scan import FlightScanNode

        return FlightScanNode()

    run_node(make, sends_images=False)


if __name__ == "__main__":  # python -m depthnet_ros.ros.run depthnet_node --ros-args ...
    {"depthnet_node": depthnet_node, "camera_replay": camera_replay, "flight_scan": flight_scan}[sys.argv[1]]()
