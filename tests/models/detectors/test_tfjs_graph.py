import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from annotator.errors import DetectorError
from annotator.models.detectors.tfjs_graph import read_graph_model

Build = Callable[[tuple[int, ...]], Any]


def test_nodes_come_after_their_inputs(tiny_nanodet: tuple[bytes, bytes]) -> None:
    model = read_graph_model(*tiny_nanodet)
    seen: set[str] = set()
    for node in model.nodes:
        assert {name.split(":")[0] for name in node.inputs} <= seen, node.name
        seen.add(node.name)
    assert model.input_name == "image"
    assert model.input_shape == (1, 3, 64, 64)
    assert sorted(model.outputs.values()) == sorted([(1, n, c) for n in (64, 16, 4) for c in (44, 80)])


@pytest.mark.parametrize(("quantised", "error"), [("", 0.0), ("float16", 1e-3), ("uint16", 1e-4), ("uint8", 1e-2)])
def test_quantised_weights_are_restored(build_graph_model: Build, quantised: str, error: float) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    graph = build_graph_model((1, 4))
    graph.constant([3, 4])  # so that the next does not begin at 0
    name = graph.constant(values, quantised)
    graph.output(graph.node("Identity", "image"), (1, 4))
    weights = read_graph_model(*graph.files()).weights
    assert weights[name].dtype == np.float32
    np.testing.assert_allclose(weights[name], values, atol=error)


def test_attributes_are_read(build_graph_model: Build) -> None:
    graph = build_graph_model((1, 4))
    graph.output(graph.node("LeakyRelu", "image", alpha=0.25, strides=[1, 2], padding="SAME", flag=True, n=3), (1, 4))
    (node,) = [node for node in read_graph_model(*graph.files()).nodes if node.op == "LeakyRelu"]
    assert node.attributes == {"alpha": 0.25, "strides": [1, 2], "padding": "SAME", "flag": True, "n": 3}


@pytest.mark.parametrize("damage", ["not JSON", "no topology", "weights cut", "weights too long", "no base64"])
def test_a_damaged_model_is_one_sentence(build_graph_model: Build, damage: str) -> None:
    graph = build_graph_model((1, 4))
    graph.output(graph.node("Add", "image", graph.constant([1.0, 2.0]), padding="SAME"), (1, 4))
    description, weights = graph.files()
    values = json.loads(description)
    match damage:
        case "not JSON":
            description = description[:-9]
        case "no topology":
            description = json.dumps({key: values[key] for key in values if key != "modelTopology"}).encode()
        case "weights cut":
            weights = weights[:-3]
        case "weights too long":
            weights += b"more"
        case "no base64":
            description = description.replace(b'"U0FNRQ=="', b'"U0F%"')
    with pytest.raises(DetectorError, match=r"no TensorFlow\.js graph model, or damaged"):
        read_graph_model(description, weights)


def test_a_cyclic_graph_is_refused(build_graph_model: Build) -> None:
    graph = build_graph_model((1, 4))
    graph.node("Add", "image", "add_2")
    graph.node("Add", "image", "add_1")
    graph.output("add_1", (1, 4))
    with pytest.raises(DetectorError, match="runs in a circle"):
        read_graph_model(*graph.files())
