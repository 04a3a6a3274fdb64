"""Runs a TensorFlow.js graph model with torch, operation by operation: slow, simple, and independent of ONNX.

The output of tfjs_to_onnx.py is compared with it when a detector is installed. Knows nothing of what a model computes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from annotator.errors import DetectorError
from annotator.models.detectors.tfjs_graph import Array, GraphModel, Node

Values = dict[str, torch.Tensor]


def run_graph_model(model: GraphModel, image: Array) -> list[Array]:
    """Run a graph model.

    Args:
        model: The graph.
        image: float32, of the model's input shape.

    Returns:
        The outputs, in the order of `outputs`.

    Raises:
        DetectorError: An operation is not supported.
    """
    values: Values = {name: torch.from_numpy(np.array(array)) for name, array in model.weights.items()}
    values[model.input_name] = torch.from_numpy(image)
    with torch.inference_mode():
        for node in model.nodes:
            if node.op in ("Const", "Placeholder"):
                continue
            if node.op not in _OPERATIONS:
                raise DetectorError(f"The graph model has the operation {node.op} ({node.name}), which is not run.")
            results = _OPERATIONS[node.op](node, [values[name] for name in node.inputs])
            for place, result in enumerate(results if isinstance(results, tuple) else (results,)):
                values[node.name if place == 0 else f"{node.name}:{place}"] = result
    return [values[name].numpy() for name in model.outputs]


def _convolve(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    image, weight = inputs[0].movedim(3, 1), inputs[1].permute(3, 2, 0, 1)
    strides, dilations = node.attributes["strides"][1:3], (node.attributes.get("dilations") or [1] * 4)[1:3]
    image = _padded(node, image, weight.shape[2:], strides, dilations, 0.0)
    return F.conv2d(image, weight, stride=strides, dilation=dilations).movedim(1, 3)


def _pool(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    window, strides = node.attributes["ksize"][1:3], node.attributes["strides"][1:3]
    image = _padded(node, inputs[0].movedim(3, 1), window, strides, [1, 1], -torch.inf)
    return F.max_pool2d(image, window, strides).movedim(1, 3)


def _padded(
    node: Node, image: torch.Tensor, window: Any, strides: list[int], dilations: list[int], value: float
) -> torch.Tensor:
    if node.attributes["padding"] == "VALID":
        return image
    pads: list[int] = []
    for size, side, stride, dilation in zip(image.shape[2:], window, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (side - 1) * dilation + 1 - size, 0)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(image, pads, value=value)


def _pad(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    value = float(inputs[2]) if len(inputs) > 2 else 0.0
    return F.pad(inputs[0], inputs[1].flip(0).reshape(-1).tolist(), value=value)


def _resize(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    size, corners = inputs[1].tolist(), bool(node.attributes.get("align_corners"))
    if not corners and not node.attributes.get("half_pixel_centers"):
        raise DetectorError(f"ResizeBilinear ({node.name}) counts from the pixels' corners, which torch does not do.")
    return F.interpolate(inputs[0].movedim(3, 1), size, mode="bilinear", align_corners=corners).movedim(1, 3)


def _sparse_to_dense(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    indices, shape, filled, default = inputs
    dense = torch.full(shape.tolist(), default.item(), dtype=default.dtype)
    if len(indices):
        dense[tuple(indices.reshape(len(indices), -1).T.long())] = filled
    return dense


_OPERATIONS: dict[str, Callable[[Node, list[torch.Tensor]], Any]] = {
    "Add": lambda node, x: x[0] + x[1],
    "AddV2": lambda node, x: x[0] + x[1],
    "ConcatV2": lambda node, x: torch.cat(x[:-1], int(x[-1])),
    "Conv2D": _convolve,
    "Identity": lambda node, x: x[0],
    "LeakyRelu": lambda node, x: F.leaky_relu(x[0], node.attributes.get("alpha", 0.2)),
    "MaxPool": _pool,
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": lambda node, x: x[0].reshape(x[1].tolist()),
    "ResizeBilinear": _resize,
    "Sigmoid": lambda node, x: x[0].sigmoid(),
    "SparseToDense": _sparse_to_dense,
    "SplitV": lambda node, x: torch.split(x[0], x[1].tolist(), int(x[2])),
    "Transpose": lambda node, x: x[0].permute(x[1].tolist()),
}
