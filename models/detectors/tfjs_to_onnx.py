"""Converts a TensorFlow.js graph model to ONNX, for the operations that occur in image detectors.

The layout of images is (B, H, W, C) in TensorFlow and (B, C, H, W) in ONNX, so convolution, pooling and resizing are
each between two transpositions; ONNX Runtime moves and cancels them when it loads the graph. Constant expressions are
evaluated here. Knows nothing of what a model computes; tfjs_torch.py is the second implementation to compare with.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from annotator.errors import DetectorError
from annotator.models.detectors.tfjs_graph import Array, GraphModel, Node

OPSET = 17
IR_VERSION = 8
"""The oldest one with this opset, which every allowed ONNX Runtime reads."""
_TO_ONNX, _TO_TENSORFLOW = (0, 3, 1, 2), (0, 2, 3, 1)


def convert_to_onnx(model: GraphModel) -> bytes:
    """Convert a graph model.

    Returns:
        The ONNX file: one float32 input and the outputs, under the names and in the shapes of the graph model.

    Raises:
        DetectorError: An operation, or a setting of one, is not supported.
    """
    return _Converter(model).convert()


class _Converter:
    def __init__(self, model: GraphModel) -> None:
        self._model = model
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._constants: dict[str, Array] = dict(model.weights)
        self._num_names = 0

    def convert(self) -> bytes:
        for node in self._model.nodes:
            if node.op in ("Const", "Placeholder"):
                continue
            if not self._fold(node):
                self._emitter(node)(node)
        graph = helper.make_graph(
            self._nodes,
            "tfjs",
            [helper.make_tensor_value_info(self._model.input_name, TensorProto.FLOAT, self._model.input_shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in self._model.outputs.items()],
            list(self._initializers.values()),
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        try:
            onnx.checker.check_model(proto, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise DetectorError(f"The graph model cannot be converted: {str(error).splitlines()[0]}") from error
        return bytes(proto.SerializeToString())

    def _emitter(self, node: Node) -> Callable[[Node], None]:
        emitters: dict[str, Callable[[Node], None]] = {
            "Add": self._add,
            "AddV2": self._add,
            "ConcatV2": self._concat,
            "Conv2D": self._convolve,
            "Identity": lambda n: self._emit("Identity", [self._value(n.inputs[0])], [n.name]),
            "LeakyRelu": lambda n: self._emit(
                "LeakyRelu", [self._value(n.inputs[0])], [n.name], alpha=n.attributes.get("alpha", 0.2)
            ),
            "MaxPool": self._pool,
            "Pad": self._pad,
            "PadV2": self._pad,
            "Reshape": self._reshape,
            "ResizeBilinear": self._resize,
            "Sigmoid": lambda n: self._emit("Sigmoid", [self._value(n.inputs[0])], [n.name]),
            "SplitV": self._split,
            "Transpose": lambda n: self._emit(
                "Transpose", [self._value(n.inputs[0])], [n.name], perm=self._constant(n, 1).tolist()
            ),
        }
        if node.op not in emitters:
            raise DetectorError(f"The graph model has the operation {node.op} ({node.name}), which is not converted.")
        return emitters[node.op]

    # Values

    def _fold(self, node: Node) -> bool:
        """Evaluate a node whose inputs are all constants; return whether it was evaluated."""
        if not node.inputs or any(name not in self._constants for name in node.inputs):
            return False
        values = [self._constants[name] for name in node.inputs]
        if node.op == "SparseToDense":
            # (indices, shape, values, default); shapes with unknown sizes are built this way.
            indices, shape, filled, default = values
            dense = np.full(shape, default, dtype=default.dtype)
            for index, value in zip(indices, np.broadcast_to(filled, len(indices)), strict=True):
                dense[tuple(np.atleast_1d(index))] = value
            self._constants[node.name] = dense
        elif node.op in ("Add", "AddV2"):
            self._constants[node.name] = np.add(*values)
        else:
            return False
        return True

    def _constant(self, node: Node, place: int) -> Array:
        try:
            return self._constants[node.inputs[place]]
        except KeyError:
            raise DetectorError(f"The operation {node.op} ({node.name}) has settings that are computed.") from None

    def _value(self, name: str) -> str:
        return self._store(name, self._constants[name]) if name in self._constants else name

    def _store(self, name: str, values: Array) -> str:
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _numbers(self, values: Any) -> str:
        return self._store(self._name("numbers"), np.asarray(values, np.int64))

    def _name(self, kind: str) -> str:
        self._num_names += 1
        return f"onnx/{kind}_{self._num_names}"

    def _emit(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self._nodes.append(helper.make_node(op, inputs, outputs, **attributes))

    def _emit_image(self, op: str, node: Node, rest: list[str], **attributes: Any) -> None:
        """Emit an operation on images between the two layouts."""
        before, after = self._name("before"), self._name("after")
        self._emit("Transpose", [self._value(node.inputs[0])], [before], perm=_TO_ONNX)
        self._emit(op, [before, *rest], [after], **attributes)
        self._emit("Transpose", [after], [node.name], perm=_TO_TENSORFLOW)

    # Operations

    def _add(self, node: Node) -> None:
        self._emit("Add", [self._value(name) for name in node.inputs], [node.name])

    def _concat(self, node: Node) -> None:
        axis = int(self._constant(node, len(node.inputs) - 1))
        self._emit("Concat", [self._value(name) for name in node.inputs[:-1]], [node.name], axis=axis)

    def _convolve(self, node: Node) -> None:
        weight = self._store(f"{node.inputs[1]}/oihw", self._constant(node, 1).transpose(3, 2, 0, 1))
        dilations = node.attributes.get("dilations") or [1, 1, 1, 1]
        self._emit_image("Conv", node, [weight], dilations=dilations[1:3], **self._window(node))

    def _pool(self, node: Node) -> None:
        self._emit_image("MaxPool", node, [], kernel_shape=node.attributes["ksize"][1:3], **self._window(node))

    def _window(self, node: Node) -> dict[str, Any]:
        if node.attributes.get("data_format", "NHWC") != "NHWC":
            raise DetectorError(f"{node.op} ({node.name}) has images laid out as {node.attributes['data_format']}.")
        paddings = {"VALID": "VALID", "SAME": "SAME_UPPER"}
        if node.attributes["padding"] not in paddings:
            raise DetectorError(f"{node.op} ({node.name}) has the padding {node.attributes['padding']}.")
        return {"auto_pad": paddings[node.attributes["padding"]], "strides": node.attributes["strides"][1:3]}

    def _pad(self, node: Node) -> None:
        inputs = [self._value(node.inputs[0]), self._numbers(self._constant(node, 1).T.reshape(-1))]
        if node.op == "PadV2":
            inputs.append(self._value(node.inputs[2]))
        self._emit("Pad", inputs, [node.name])

    def _reshape(self, node: Node) -> None:
        self._emit("Reshape", [self._value(node.inputs[0]), self._numbers(self._constant(node, 1))], [node.name])

    def _resize(self, node: Node) -> None:
        if node.attributes.get("align_corners"):
            mode = "align_corners"
        else:
            mode = "half_pixel" if node.attributes.get("half_pixel_centers") else "asymmetric"
        # All four sizes, the first two from the image: ONNX Runtime's optimiser breaks a Resize of two axes.
        before, shape, kept, sizes, after = (self._name("resize") for _ in range(5))
        self._emit("Transpose", [self._value(node.inputs[0])], [before], perm=_TO_ONNX)
        self._emit("Shape", [before], [shape])
        self._emit("Slice", [shape, self._numbers([0]), self._numbers([2])], [kept])
        self._emit("Concat", [kept, self._numbers(self._constant(node, 1))], [sizes], axis=0)
        self._emit("Resize", [before, "", "", sizes], [after], mode="linear", coordinate_transformation_mode=mode)
        self._emit("Transpose", [after], [node.name], perm=_TO_TENSORFLOW)

    def _split(self, node: Node) -> None:
        sizes, axis = self._constant(node, 1), int(self._constant(node, 2))
        outputs = [node.name, *(f"{node.name}:{place}" for place in range(1, len(sizes)))]
        self._emit("Split", [self._value(node.inputs[0]), self._numbers(sizes)], outputs, axis=axis)
