"""The recurrent taggers one step at a time, in numpy, so that a server needs no torch.

Each class implements the equations of a torch module on the same weights, under the names of the module's state;
tests/models/sequence/test_numpy_steps.py compares the two. Products that depend only on the previous tag are computed
once, when a tagger is loaded.
Shapes: features (B, D), previous tags (R,) -> log-probabilities (R, V + 1).
"""

from collections.abc import Mapping

import numpy as np

from annotator.models.sequence.decoding import Array, Ids, State

Weights = Mapping[str, Array]

ROOT_OFFSET = np.float32(1e-6)
"""As in trained_tagger.py."""


def scale_features(weights: Weights, features: Array, *, is_rooted: bool) -> Array:
    """Return features of mean 0 and standard deviation 1, (..., D), as `TrainedTagger.scale` does."""
    if is_rooted:
        features = np.sign(features) * np.sqrt(np.abs(features) + ROOT_OFFSET)
    scaled: Array = (features - weights["feature_mean"]) * weights["feature_scale"]
    return scaled


def root_slope(features: Array) -> Array:
    """Return the derivative of the signed square root in `scale_features`."""
    slope: Array = np.asarray(0.5 / np.sqrt(np.abs(features) + ROOT_OFFSET), np.float32)
    return slope


def sigmoid(values: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    result: Array = 0.5 * (1 + np.tanh(0.5 * values))
    return result


def softmax(values: Array) -> Array:
    """Return the softmax over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    result: Array = powers / powers.sum(axis=-1, keepdims=True)
    return result


def log_softmax(values: Array) -> Array:
    """Return the logarithm of the softmax over the last axis."""
    values = values - values.max(axis=-1, keepdims=True)
    result: Array = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return result


def linear(weights: Weights, name: str, values: Array) -> Array:
    """Apply the linear layer `name` of a torch state, weight (out, in) and perhaps a bias, to (..., in)."""
    weight = weights[f"{name}.weight"].T
    # One product of all rows: for a stack of matrices numpy computes one product each and rereads the weights.
    result = (values.reshape(-1, len(weight)) @ weight).reshape(*values.shape[:-1], weight.shape[1])
    if f"{name}.bias" in weights:
        result += weights[f"{name}.bias"]
    return result


def lstm(gates: Array, cell: Array) -> tuple[Array, Array]:
    """Return the next (hidden, cell) of an LSTM from the gates' logits, (R, 4 H) in torch's order i, f, g, o."""
    size = cell.shape[1]
    input_forget = sigmoid(gates[:, : 2 * size])
    cell = input_forget[:, size:] * cell + input_forget[:, :size] * np.tanh(gates[:, 2 * size : 3 * size])
    hidden: Array = sigmoid(gates[:, 3 * size :]) * np.tanh(cell)
    return hidden, cell


class PreviousTagSteps:
    """An LSTM that is fed the previous tag, as `tag_lstm.TagLstm`.

    Args:
        weights: With `decoder.embedding`, `decoder.lstm` and `decoder.output`.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.num_tags = len(weights["decoder.output.bias"]) - 1
        self.hidden_size = weights["decoder.lstm.weight_hh_l0"].shape[1]
        # E a_{t-1} (eq. 3) takes V + 1 values, so W_x E plus both biases is a table.
        self._inputs = (
            weights["decoder.embedding.weight"] @ weights["decoder.lstm.weight_ih_l0"].T
            + weights["decoder.lstm.bias_ih_l0"]
            + weights["decoder.lstm.bias_hh_l0"]
        )  # (V + 1, 4 H)
        self._recurrent = np.ascontiguousarray(weights["decoder.lstm.weight_hh_l0"].T)
        self._output = np.ascontiguousarray(weights["decoder.output.weight"].T)

    def step(self, state: State, previous: Ids) -> tuple[Array, State]:
        """Feed the previous tag; see `Steps.step`."""
        hidden, cell = lstm(self._inputs[previous] + state["hidden"] @ self._recurrent, state["cell"])
        logits = self.fuse(hidden, state) @ self._output + self.weights["decoder.output.bias"]
        return log_softmax(logits), {**state, "hidden": hidden, "cell": cell}

    def fuse(self, hidden: Array, state: State) -> Array:
        """Return the input of the output layer."""
        return hidden

    def no_cell(self, features: Array) -> Array:
        """Return c_0 = 0."""
        return np.zeros((len(features), self.hidden_size), np.float32)


class ScnnRnnSteps(PreviousTagSteps):
    """`scnn_rnn.ScnnRnn`: the concepts set the hidden state."""

    def start(self, features: Array, concepts: Array | None) -> State:
        """Return h_0 = FC(s^), c_0 = 0."""
        if concepts is None:
            raise ValueError("S-CNN-RNN starts from concept probabilities; it got none.")
        return {"hidden": linear(self.weights, "initial", concepts), "cell": self.no_cell(features)}


class RiaSteps(PreviousTagSteps):
    """`sequence_baselines.Ria`: the features set the hidden state."""

    def start(self, features: Array, concepts: Array | None) -> State:
        """Return h_0 = W_i I + b_i, c_0 = 0."""
        return {"hidden": linear(self.weights, "initial", features), "cell": self.no_cell(features)}


class NaiveRnnSteps(PreviousTagSteps):
    """`sequence_baselines.NaiveRnn`: the features are the first input."""

    def start(self, features: Array, concepts: Array | None) -> State:
        """Return (h_0, c_0) = LSTM(W_i I + b_i, 0, 0)."""
        inputs = linear(self.weights, "initial", features)
        gates = inputs @ self.weights["decoder.lstm.weight_ih_l0"].T
        gates += self.weights["decoder.lstm.bias_ih_l0"] + self.weights["decoder.lstm.bias_hh_l0"]
        hidden, cell = lstm(gates, self.no_cell(features))
        return {"hidden": hidden, "cell": cell}


class CnnRnnSteps(PreviousTagSteps):
    """`sequence_baselines.CnnRnn`: image and LSTM are added before the output layer."""

    def start(self, features: Array, concepts: Array | None) -> State:
        """Return zero states and the projected image."""
        image = linear(self.weights, "image", features)
        return {"hidden": self.no_cell(features), "cell": self.no_cell(features), "image": image}

    def fuse(self, hidden: Array, state: State) -> Array:
        """Return ReLU(U_o o(t) + U_I I)."""
        fused: Array = np.maximum(linear(self.weights, "recurrent", hidden) + state["image"], 0)
        return fused


class NoRnnSteps:
    """`sequence_baselines.NoRnn`: the image and the previous tag, no recurrent state."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.num_tags = len(weights["output.bias"]) - 1
        self._output = np.ascontiguousarray(weights["output.weight"].T)

    def start(self, features: Array, concepts: Array | None) -> State:
        """Return the projected image."""
        return {"image": linear(self.weights, "image", features)}

    def step(self, state: State, previous: Ids) -> tuple[Array, State]:
        """Return the log-probabilities after the previous tag; the state does not change."""
        fused = np.maximum(self.weights["embedding.weight"][previous] + state["image"], 0)
        return log_softmax(fused @ self._output + self.weights["output.bias"]), state


class RankedLstmSteps:
    """`ranked_lstm.RankedLstm`: the image is an input at every step, the previous tag only with `feed_back`."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.num_tags = len(weights["output.bias"])
        self.hidden_size = weights["lstm.weight_hh_l0"].shape[1]
        self._recurrent = np.ascontiguousarray(weights["lstm.weight_hh_l0"].T)
        self._output = np.ascontiguousarray(weights["output.weight"].T)
        self._fed_back = (
            weights["embedding.weight"] @ weights["lstm.weight_ih_l0"].T if "embedding.weight" in weights else None
        )  # (V + 1, 4 H)

    def start(self, features: Array, concepts: Array | None) -> State:
        """Return zero states and the image's terms of the gates (eq. 10 and the first terms of eq. 11-14)."""
        gates = linear(self.weights, "image", features) @ self.weights["lstm.weight_ih_l0"].T
        gates += self.weights["lstm.bias_ih_l0"] + self.weights["lstm.bias_hh_l0"]
        zeros = np.zeros((len(features), self.hidden_size), np.float32)
        return {"hidden": zeros, "cell": zeros, "image": gates}

    def step(self, state: State, previous: Ids) -> tuple[Array, State]:
        """Advance by one place (eq. 11-18); the previous tag is used only if the tagger feeds it back."""
        gates = state["image"] if self._fed_back is None else state["image"] + self._fed_back[previous]
        hidden, cell = lstm(gates + state["hidden"] @ self._recurrent, state["cell"])
        logits = hidden @ self._output + self.weights["output.bias"]
        log_probs = np.pad(log_softmax(logits), ((0, 0), (0, 1)), constant_values=-np.inf)  # no END
        return log_probs, {**state, "hidden": hidden, "cell": cell}


class JvspSteps:
    """`jvsp.Jvsp`.

    Args:
        weights: Those of the module.
        phi: "gate" or "paper", see jvsp.py.
    """

    def __init__(self, weights: Weights, phi: str) -> None:
        self.weights = weights
        self._phi = phi
        self.num_tags = len(weights["output.bias"]) - 1
        self._transposed = {
            name: np.ascontiguousarray(weights[f"{name}.weight"].T)
            for name in ("guidance", "inner", "outer", "output")
            if f"{name}.weight" in weights
        }
        self._inputs = np.ascontiguousarray(weights["cell.weight_ih"].T)
        self._recurrent = np.ascontiguousarray(weights["cell.weight_hh"].T)

    def start(self, features: Array, concepts: Array | None) -> State:
        """Return C(I), zero states and a zero knowledge guidance."""
        image = linear(self.weights, "image", features)
        image = image - image.mean(axis=1, keepdims=True)
        image = image / np.sqrt((image**2).mean(axis=1, keepdims=True) + 1e-5)
        image = image * self.weights["norm.weight"] + self.weights["norm.bias"]
        zeros = np.zeros_like(image)
        return {"image": image, "hidden": zeros, "cell": zeros, "past": zeros, "count": zeros[:, :1]}

    def step(self, state: State, previous: Ids) -> tuple[Array, State]:
        """Feed the previous tag (eq. 1-9); see `Steps.step`."""
        semantic = self.weights["semantic.weight"][previous]  # w_k, eq. 1
        refined = self.weights["refined.weight"][previous]  # w_f, eq. 1
        guidance: Array = semantic
        if "guidance" in self._transposed:
            past = state["past"] / np.maximum(state["count"], 1)
            guidance = (semantic + past @ self._transposed["guidance"]).astype(np.float32, copy=False)  # eq. 2-3
        image = state["image"]
        visual = image * sigmoid(guidance) if self._phi == "gate" else softmax(image * guidance)  # eq. 4
        weight = np.tanh(refined + visual @ self._transposed["inner"]) @ self._transposed["outer"]  # eq. 5
        tag = np.tanh(refined * weight) if self._phi == "gate" else softmax(refined * weight)  # eq. 6
        gates = np.concatenate([visual, tag], axis=1) @ self._inputs + state["hidden"] @ self._recurrent  # eq. 7
        gates += self.weights["cell.bias_ih"] + self.weights["cell.bias_hh"]
        hidden, cell = lstm(gates, state["cell"])  # eq. 8
        logits = (hidden + visual) @ self._transposed["output"] + self.weights["output.bias"]  # eq. 9
        log_probs = log_softmax(np.asarray(logits, np.float32))
        confidence = np.exp(log_probs.max(axis=1, keepdims=True))  # lambda_t
        return log_probs, {
            "image": image,
            "hidden": hidden,
            "cell": cell,
            "past": state["past"] + confidence * hidden,
            "count": state["count"] + 1,
        }
