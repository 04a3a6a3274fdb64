"""Stand-ins for photos that are not there: what a tagger has learnt is rehearsed on them, without its old photos.

A project's photos may all be of one kind, and a tag that is right on half of them would be proposed on any photo in
the world. One stand-in for each class of the backbone's own classifier says what else there is: the project's mean
features, pushed along the class's weights. After Yin et al., "Dreaming to Distill", 2020 (photos made from a network's
own weights), in feature space and in one step. Knows nothing of taggers.
"""

import numpy as np

from annotator.models.tagger import Features

STRENGTH = 1.0
"""How far a stand-in lies from the mean, in deviations of the project's photos."""


def class_stand_ins(class_weights: Features, features: Features) -> Features:
    """Return (C, D), a stand-in for each class.

    Args:
        class_weights: (D, C), of the backbone's classifier.
        features: (N, D) of the project's photos.
    """
    weights = class_weights.T - class_weights.T.mean(axis=0)  # (C, D)
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    directions = weights / np.maximum(lengths, 1e-9) * np.sqrt(features.shape[1])
    made = features.mean(axis=0) + STRENGTH * features.std(axis=0) * directions
    bounded: Features = np.maximum(made, features.min(axis=0)).astype(np.float32)
    return bounded
