import numpy as np

from annotator.trainer.finetuning.exemplars import STRENGTH, class_exemplars


def test_an_exemplar_scores_highest_for_its_own_class() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((30, 16), np.float32) + 1
    weights = rng.standard_normal((16, 5)).astype(np.float32)
    made = class_exemplars(weights, features)
    assert (made.shape, made.dtype) == ((5, 16), np.float32)
    assert ((made - features.mean(axis=0)) @ weights).argmax(axis=1).tolist() == [0, 1, 2, 3, 4]
    # By hand for one class: the mean, plus deviations along the centred weights, no value below the minimum.
    centred = weights[:, 2] - weights.mean(axis=1)
    step = STRENGTH * features.std(axis=0) * centred / np.linalg.norm(centred) * 4
    np.testing.assert_allclose(made[2], np.maximum(features.mean(axis=0) + step, features.min(axis=0)), rtol=1e-5)
