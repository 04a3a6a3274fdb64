import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import sklearn
from PIL import Image

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"


@pytest.fixture(scope="session")
def make_photo() -> Callable[[str], Image.Image]:
    """Real photos by file name, from the packages scikit-image and scikit-learn."""

    def make(name: str) -> Image.Image:
        folder = SKIMAGE if (SKIMAGE / name).exists() else SKLEARN
        with Image.open(folder / name) as image:
            return image.convert("RGB")

    return make


TAGS = ["man", "dog", "frisbee", "park", "tree", "bench", "bird"]
TAGGER_FEATURE_SIZE = 12
SMALL: dict[str, dict[str, Any]] = {
    "scnn_rnn": {"embedding_size": 6, "hidden_size": 16},
    "jvsp": {"size": 16},
    "ranked_lstm": {"image_size": 8, "hidden_size": 16},
    "ria": {"embedding_size": 6, "hidden_size": 16},
    "cnn_rnn": {"embedding_size": 6, "hidden_size": 16},
    "naive_rnn": {"embedding_size": 6, "hidden_size": 16},
    "no_rnn": {"hidden_size": 32},
}
"""Sizes of the recurrent taggers in tests."""


@pytest.fixture(scope="session")
def make_tagged_features() -> Callable[..., tuple[Any, list[list[int]]]]:
    """Random features like a backbone's, and lists of 1 to 4 of the 7 tags."""

    def make(num: int, seed: int = 0) -> tuple[Any, list[list[int]]]:
        rng = np.random.default_rng(seed)
        features = rng.gamma(1.0, 1.0, (num, TAGGER_FEATURE_SIZE)).astype(np.float32)
        return features, [rng.permutation(len(TAGS))[: 1 + row % 4].tolist() for row in range(num)]

    return make


@pytest.fixture(scope="session")
def make_tagger(make_tagged_features: Callable[..., Any]) -> Callable[..., Any]:
    """Small recurrent taggers by registry name, with random weights far from their start."""
    import torch

    from annotator.datasets.vocabulary import Vocabulary
    from annotator.models import registry

    def make(name: str, seed: int = 0, **settings: Any) -> Any:
        torch.manual_seed(seed)
        tagger = registry.create(name, Vocabulary(TAGS), TAGGER_FEATURE_SIZE, **{**SMALL[name], **settings})
        features, sequences = make_tagged_features(20, seed)
        labels = torch.zeros(len(sequences), len(TAGS))
        for row, tags in enumerate(sequences):
            labels[row, tags] = 1
        tagger.prepare(torch.from_numpy(features), labels)
        with torch.no_grad():
            for parameter in tagger.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
        return tagger.eval()

    return make


@pytest.fixture(scope="session")
def make_small_batch(make_tagged_features: Callable[..., Any]) -> Callable[..., Any]:
    """Batches of random photos with lists of 1 to 4 tags."""
    import torch

    from annotator.models.sequence.trained_tagger import make_batch

    def make(num: int = 6, seed: int = 0) -> Any:
        features, sequences = make_tagged_features(num, seed)
        return make_batch(torch.from_numpy(features), sequences, len(TAGS))

    return make


class GraphModelBuilder:
    """Writes TensorFlow.js graph models: nodes as GraphDef's JSON, weights packed one after the other."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self._nodes: list[dict[str, Any]] = [{"name": "image", "op": "Placeholder", "attr": {}}]
        self._weights: list[dict[str, Any]] = []
        self._data = b""
        self._input_shape = input_shape
        self._outputs: dict[str, tuple[int, ...]] = {}

    def constant(self, values: Any, quantised: str = "") -> str:
        array = np.asarray(values)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
        name = f"constant_{len(self._weights)}"
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
        if quantised == "float16":
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            array = array.astype(np.float16)
        elif quantised:
            low, scale = float(array.min()), float(np.ptp(array)) / np.iinfo(quantised).max
            entry["quantization"] = {"dtype": quantised, "min": low, "scale": scale, "original_dtype": "float32"}
            array = np.round((array - low) / scale).astype(quantised)
        self._weights.append(entry)
        self._data += array.tobytes()
        self._nodes.append({"name": name, "op": "Const", "attr": {"dtype": {"type": "DT_FLOAT"}}})
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self._nodes)}"
        attr = {key: self._attribute(value) for key, value in attributes.items()}
        # Nodes are in no particular order in a real file.
        self._nodes.insert(0, {"name": name, "op": op, "input": list(inputs), "attr": attr})
        return name

    @staticmethod
    def _attribute(value: Any) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"b": value}
        if isinstance(value, str):
            return {"s": base64.b64encode(value.encode()).decode()}
        if isinstance(value, list):
            return {"list": {"i": [str(number) for number in value]}}
        return {"f": value} if isinstance(value, float) else {"i": str(value)}

    def output(self, value: str, shape: tuple[int, ...]) -> None:
        self._outputs[self.node("Identity", value)] = shape

    def files(self) -> tuple[bytes, bytes]:
        """Return the .json and the .bin file."""

        def tensor(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
            return {"name": f"{name}:0", "tensorShape": {"dim": [{"size": str(size)} for size in shape]}}

        description = {
            "format": "graph-model",
            "signature": {
                "inputs": {"image:0": tensor("image", self._input_shape)},
                "outputs": {name: tensor(name, shape) for name, shape in self._outputs.items()},
            },
            "modelTopology": {"node": self._nodes},
            "weightsManifest": [{"paths": ["tiny.bin"], "weights": self._weights}],
        }
        return json.dumps(description).encode(), self._data


@pytest.fixture
def build_graph_model() -> Callable[[tuple[int, ...]], GraphModelBuilder]:
    return GraphModelBuilder


@pytest.fixture
def tiny_nanodet() -> tuple[bytes, bytes]:
    """A network of random weights with the input, the outputs and all the operations of NanoDet, for 64 pixels."""
    rng = np.random.default_rng(0)
    graph = GraphModelBuilder((1, 3, 64, 64))

    def weights(*shape: int) -> str:
        return graph.constant(rng.normal(0, 0.3, shape), quantised="float16")

    def convolve(value: str, size_in: int, size_out: int, side: int, stride: int, padding: str = "SAME") -> str:
        strides = [1, stride, stride, 1]
        out = graph.node("Conv2D", value, weights(side, side, size_in, size_out), strides=strides, padding=padding)
        return graph.node("Add", out, weights(size_out))

    padded = graph.node("Pad", "image", graph.constant([[0, 0], [0, 0], [1, 1], [1, 1]]))
    value = graph.node("Transpose", padded, graph.constant([0, 2, 3, 1]))
    value = graph.node("LeakyRelu", convolve(value, 3, 8, 3, 2, "VALID"), alpha=0.1)  # 32 x 32
    value = graph.node("PadV2", value, graph.constant([[0, 0], [1, 1], [1, 1], [0, 0]]), graph.constant(-9.0))
    value = graph.node("MaxPool", value, ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="VALID")  # 16 x 16
    fine = convolve(value, 8, 8, 3, 2)  # 8 x 8
    middle = convolve(fine, 8, 8, 3, 2)
    coarse = convolve(middle, 8, 8, 1, 2)
    larger = graph.node("ResizeBilinear", coarse, graph.constant([4, 4]), half_pixel_centers=True, align_corners=False)
    middle = graph.node("AddV2", middle, larger)
    fine = graph.node("ConcatV2", fine, fine, graph.constant(3))
    none, zero = graph.constant(np.zeros((0, 1), int)), graph.constant(0)
    for level, size, side in ((fine, 16, 8), (middle, 8, 4), (coarse, 8, 2)):
        head = graph.node("Transpose", convolve(level, size, 124, 1, 1), graph.constant([0, 3, 1, 2]))
        parts = graph.node("SplitV", head, graph.constant([80, 44]), graph.constant(1), num_split=2)
        scores, distances = graph.node("Sigmoid", parts), f"{parts}:1"
        for part, length in ((scores, 80), (distances, 44)):
            empty = graph.node("SparseToDense", none, graph.constant([3]), graph.constant(np.zeros(0, int)), zero)
            shape = graph.node("AddV2", graph.constant([1, length, -1]), empty)
            flat = graph.node("Reshape", part, shape)
            graph.output(graph.node("Transpose", flat, graph.constant([0, 2, 1])), (1, side * side, length))
    return graph.files()
