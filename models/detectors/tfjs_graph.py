"""TensorFlow.js graph models: a JSON file of operations and a file of weights, read into plain arrays.

Format: the ``modelTopology`` is TensorFlow's GraphDef as JSON, the ``weightsManifest`` names shards of packed weights,
which may be quantised to 8 or 16 bits (tensorflow.js, ``io/weights_loader`` and ``io_utils``).
Knows nothing of what a model computes. tfjs_to_onnx.py converts a graph to ONNX, tfjs_torch.py runs it with torch.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.errors import DetectorError

Array = npt.NDArray[Any]

_PLAIN_TYPES = {"float32": "<f4", "int32": "<i4", "bool": "?", "uint8": "u1"}
_QUANTISED_TYPES = {"float16": "<f2", "uint8": "u1", "uint16": "<u2"}


@dataclass(frozen=True)
class Node:
    """One operation."""

    name: str
    op: str
    inputs: tuple[str, ...]
    """Names of values: a node's first output has the node's name, the others are ``name:1``, ``name:2``."""
    attributes: dict[str, Any]
    """int, float, bool, str, or lists of int."""


@dataclass(frozen=True)
class GraphModel:
    """A graph with its weights, the operations in topological order."""

    nodes: tuple[Node, ...]
    weights: dict[str, Array]
    input_name: str
    input_shape: tuple[int, ...]
    outputs: dict[str, tuple[int, ...]]
    """Shapes by name, in the order of the names."""


def read_graph_model(description: bytes, weights: bytes) -> GraphModel:
    """Read a model from its two files.

    Args:
        description: The ``.json`` file.
        weights: The ``.bin`` files, one after the other.

    Raises:
        DetectorError: A file is damaged, or the model has several inputs, which is not supported.
    """
    try:
        values = json.loads(description)
        signature = values["signature"]
        inputs, outputs = _shapes(signature["inputs"]), _shapes(signature["outputs"])
        if len(inputs) != 1:
            raise DetectorError(f"The graph model has {len(inputs)} inputs; models with one are read.")
        ((input_name, input_shape),) = inputs.items()
        nodes = [_node(entry) for entry in values["modelTopology"]["node"]]
        return GraphModel(
            nodes=tuple(_sorted(nodes)),
            weights=_read_weights(values["weightsManifest"], weights),
            input_name=input_name,
            input_shape=input_shape,
            outputs=dict(sorted(outputs.items())),
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise DetectorError(
            f"The files are no TensorFlow.js graph model, or damaged ({type(error).__name__}: {error})."
        ) from error


def _shapes(entries: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        _value_name(entry["name"]): tuple(int(dim["size"]) for dim in entry["tensorShape"]["dim"])
        for entry in entries.values()
    }


def _node(entry: dict[str, Any]) -> Node:
    inputs = tuple(_value_name(name) for name in entry.get("input", ()) if not name.startswith("^"))
    attributes = {key: _attribute(value) for key, value in entry.get("attr", {}).items()}
    return Node(entry["name"], entry["op"], inputs, attributes)


def _value_name(name: str) -> str:
    return name.removesuffix(":0")


def _attribute(value: dict[str, Any]) -> Any:
    """Return an attribute's value; None for kinds that are not used (tensors, functions, empty lists)."""
    match value:
        case {"i": number}:
            return int(number)
        case {"f": number}:
            return float(number)
        case {"b": flag}:
            return bool(flag)
        case {"s": text}:
            return base64.b64decode(text, validate=True).decode()
        case {"type": name}:
            return name
        case {"list": {"i": numbers}}:
            return [int(number) for number in numbers]
    return None


def _sorted(nodes: list[Node]) -> list[Node]:
    """Return nodes in topological order."""
    by_name = {node.name: node for node in nodes}
    done: dict[str, Node] = {}
    for start in nodes:
        stack = [start]
        while stack:
            node = stack[-1]
            wanted = [by_name[name.split(":")[0]] for name in node.inputs]
            missing = [other for other in wanted if other.name not in done]
            if len(stack) > len(nodes):
                raise ValueError(f"the graph runs in a circle at {node.name}")
            if missing:
                stack.append(missing[0])
            else:
                done.setdefault(node.name, stack.pop())
    return list(done.values())


def _read_weights(manifest: list[dict[str, Any]], data: bytes) -> dict[str, Array]:
    weights: dict[str, Array] = {}
    position = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        quantisation = entry.get("quantization")
        stored = np.dtype(_QUANTISED_TYPES[quantisation["dtype"]] if quantisation else _PLAIN_TYPES[entry["dtype"]])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(data, stored, count, position).reshape(entry["shape"])
        position += count * stored.itemsize
        if quantisation and "scale" in quantisation:
            values = values * np.float32(quantisation["scale"]) + np.float32(quantisation["min"])
        weights[entry["name"]] = values.astype(_PLAIN_TYPES[entry["dtype"]])
    if position != len(data):
        raise ValueError(f"the weights have {len(data)} bytes; the description has {position}")
    return weights
