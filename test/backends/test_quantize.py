"""Which convolutions stay in float when a network is quantised."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("nncf")

from depthnet_ros.inference.quantize import kept_in_float


def graph_of(groups: list[int]) -> onnx.ModelProto:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["y"], name=f"conv{index}", group=group)
        for index, group in enumerate(groups)
    ]
    nodes.insert(1, onnx.helper.make_node("Relu", ["y"], ["z"], name="relu"))
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))


def test_all_up_to_the_first_depthwise_one():
    assert kept_in_float(graph_of([1, 32, 1, 96])) == ["conv0", "conv1"]


def test_none_where_none_is_depthwise():
    assert kept_in_float(graph_of([1, 1])) == []
