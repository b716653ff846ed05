"""All that this package uses of rclpy though it is private there. ``test/ros/test_rclpy_private.py`` tells what a
release of rclpy has taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.subscription import Subscription


def answer_every_transition(node: LifecycleNode) -> None:
    """Have ``node`` answer a transition that does not fit its state, and say what to do about it.

    Jazzy's rclpy raises in the service's callback then, and never answers: a manager would wait for ever. So the
    callback of the service, ``_service_change_state``, is replaced. What fits is known to ``_state_machine`` alone.
    """
    change_state = node._service_change_state.callback

    def answer(request: Any, response: Any) -> Any:
        asked, machine = request.transition.label or request.transition.id, node._state_machine
        if any(asked in transition[:2] for transition in machine.available_transitions):  # number, label, states
            return change_state(request, response)
        node.get_logger().error(
            f"transition {asked} does not fit the state {machine.current_state[1]!r}: where a manager takes the node "
            "through its states, start it with autostart:=false"
        )
        response.success = False
        return response

    node._service_change_state.callback = answer


def take_waiting(subscription: Subscription) -> Iterator[Any]:
    """The messages that have come on ``subscription`` and whose callback is yet to be called, oldest first.

    The executor calls one callback of each subscription in a round. Where a round takes longer than a camera's period
    the queues of two topics drift apart, and messages of one stamp would never meet. ``handle.take_message`` is what
    the executor itself calls, and finds nothing afterwards.
    """
    with subscription.handle:
        while (taken := subscription.handle.take_message(subscription.msg_type, subscription.raw)) is not None:
            yield taken[0]


def given_parameters(node: Node) -> Iterable[str]:
    """Names of the parameters that were given at start, declared or not: rclpy ignores a misspelt one without a word,
    and keeps what was given in ``_parameter_overrides``. None are known where that is gone.
    """
    return getattr(node, "_parameter_overrides", {})
