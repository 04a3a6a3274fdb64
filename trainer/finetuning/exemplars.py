"""Exemplars: synthetic feature vectors, one a class of the backbone's classifier, on which a tagger is rehearsed.

They replace the photos of the earlier training, which are not available. A project's photos may all be of one kind;
without exemplars, a tag that is right on half of them would be proposed on any photo. An exemplar is the project's mean
feature vector moved along the class's weights. After Yin et al., "Dreaming to Distill", 2020, which inverts a network
into images; here in feature space and in one step. Knows nothing of taggers.
"""

import numpy as np

from annotator.models.tagger import Features

STRENGTH = 1.0
"""Distance of an exemplar from the mean, in standard deviations of the project's features."""


def class_exemplars(class_weights: Features, features: Features) -> Features:
    """Return (C, D), an exemplar for each class.

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
