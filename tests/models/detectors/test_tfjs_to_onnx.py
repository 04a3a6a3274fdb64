"""The conversion against torch, which runs the same graph from TensorFlow.js's own files."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from annotator.errors import DetectorError
from annotator.models.backbones.backbone import open_session
from annotator.models.detectors.tfjs_graph import read_graph_model
from annotator.models.detectors.tfjs_to_onnx import convert_to_onnx
from annotator.models.detectors.tfjs_torch import run_graph_model

Build = Callable[[tuple[int, ...]], Any]


def both(files: tuple[bytes, bytes], image: Any) -> tuple[list[Any], list[Any]]:
    model = read_graph_model(*files)
    session = open_session(convert_to_onnx(model), 1)
    return session.run(list(model.outputs), {model.input_name: image}), run_graph_model(model, image)


def image_of(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_a_whole_network_gives_what_torch_gives(tiny_nanodet: tuple[bytes, bytes]) -> None:
    found, expected = both(tiny_nanodet, image_of((1, 3, 64, 64)))
    assert len(found) == 6
    for one, other in zip(found, expected, strict=True):
        assert float(np.ptp(other)) > 0.1
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("op", ["Conv2D", "MaxPool"])
@pytest.mark.parametrize("size", [6, 7])
def test_windows_are_those_of_tensorflow(build_graph_model: Build, op: str, padding: str, size: int) -> None:
    graph = build_graph_model((1, size, size, 1))
    attributes = {"strides": [1, 2, 2, 1], "padding": padding}
    if op == "Conv2D":
        out = graph.node(op, "image", graph.constant(np.arange(9.0).reshape(3, 3, 1, 1)), **attributes)
    else:
        out = graph.node(op, "image", ksize=[1, 3, 3, 1], **attributes)
    side = -(-size // 2) if padding == "SAME" else (size - 3) // 2 + 1
    graph.output(out, (1, side, side, 1))
    image = np.arange(float(size * size), dtype=np.float32).reshape(1, size, size, 1)
    # By hand: TensorFlow pads what is missing for ceil(size / stride) windows, the smaller half before.
    total = max((side - 1) * 2 + 3 - size, 0) if padding == "SAME" else 0
    padded = np.full((size + total, size + total), 0.0 if op == "Conv2D" else -np.inf)
    before = total // 2
    padded[before : before + size, before : before + size] = image[0, :, :, 0]
    windows = [[padded[2 * y : 2 * y + 3, 2 * x : 2 * x + 3] for x in range(side)] for y in range(side)]
    weight = np.arange(9.0).reshape(3, 3)
    by_hand = [[(w * weight).sum() if op == "Conv2D" else w.max() for w in row] for row in windows]
    for (out_image,) in both(graph.files(), image):
        np.testing.assert_allclose(out_image[0, :, :, 0], by_hand)


@pytest.mark.parametrize("corners", [False, True])
def test_resizing_gives_what_torch_gives(build_graph_model: Build, corners: bool) -> None:
    graph = build_graph_model((1, 3, 4, 2))
    size = graph.constant([7, 9])
    out = graph.node("ResizeBilinear", "image", size, align_corners=corners, half_pixel_centers=not corners)
    graph.output(out, (1, 7, 9, 2))
    (found,), (expected,) = both(graph.files(), image_of((1, 3, 4, 2)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_filled_in_shapes_are_computed(build_graph_model: Build) -> None:
    graph = build_graph_model((2, 6))
    indices, values = graph.constant([[0], [1]]), graph.constant([4, 3])
    shape = graph.node("SparseToDense", indices, graph.constant([2]), values, graph.constant(0))
    graph.output(graph.node("Reshape", "image", shape), (4, 3))
    image = image_of((2, 6))
    for (out,) in both(graph.files(), image):
        np.testing.assert_array_equal(out, image.reshape(4, 3))


def test_an_unknown_operation_is_named_by_both(build_graph_model: Build) -> None:
    graph = build_graph_model((1, 4))
    graph.output(graph.node("Einsum", "image"), (1, 4))
    model = read_graph_model(*graph.files())
    with pytest.raises(DetectorError, match="operation Einsum"):
        convert_to_onnx(model)
    with pytest.raises(DetectorError, match="operation Einsum"):
        run_graph_model(model, image_of((1, 4)))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"padding": "EXPLICIT"}, "the padding EXPLICIT"),
        ({"padding": "SAME", "data_format": "NCHW"}, "laid out as NCHW"),
    ],
)
def test_unsupported_settings_are_refused(build_graph_model: Build, attributes: Any, message: str) -> None:
    graph = build_graph_model((1, 4, 4, 1))
    weight = graph.constant(np.ones((1, 1, 1, 1)))
    graph.output(graph.node("Conv2D", "image", weight, strides=[1, 1, 1, 1], **attributes), (1, 4, 4, 1))
    with pytest.raises(DetectorError, match=message):
        convert_to_onnx(read_graph_model(*graph.files()))


def test_computed_settings_are_refused(build_graph_model: Build) -> None:
    graph = build_graph_model((1, 4))
    graph.output(graph.node("Transpose", "image", graph.node("Sigmoid", "image")), (4, 1))
    with pytest.raises(DetectorError, match="settings that are computed"):
        convert_to_onnx(read_graph_model(*graph.files()))


def test_wrong_shapes_are_one_sentence(build_graph_model: Build) -> None:
    graph = build_graph_model((1, 4))
    graph.output(graph.node("Add", "image", graph.constant(np.ones((1, 3)))), (1, 4))
    with pytest.raises(DetectorError, match="cannot be converted"):
        convert_to_onnx(read_graph_model(*graph.files()))
