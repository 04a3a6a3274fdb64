"""The first list of a project is never worse than the list without any saved photo, by more than the noise.

The photos are made up, so that no data set is needed: features are the classifier's weights of two ImageNet classes
each, with noise. An everyday photo carries tags drawn from the list without a project, with the probabilities of the
fusion model: no project can do better, and one that trusts few photos too much does worse. A photo of the unknown
subject carries tags that no tagger knows and that depend on its group of similar photos.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from growing import by_quarters
from replays import Growing, Shot, World, measure

from annotator.settings import LEAST_PROBABILITY

pytestmark = pytest.mark.integration
NUM = 60
MEAN_FEATURE = 0.38
"""Of real photos."""
GROUPS = [
    [f"{group}{name}" for name in ("zurra", "velk", "tamo", "quist")] for group in ("oro", "ani", "ube", "isk", "emo")
]
NOISE = 2.0
"""Standard errors of the mean difference by which a quarter may be worse."""


@pytest.fixture(scope="module")
def world() -> World:
    return World("starter/jvsp", has_detector=False)


def photo(world: World, classes: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return (D,) features of a photo that shows some ImageNet classes."""
    weights = world.backbone.class_weights
    row = np.maximum(0.2 + 8 * weights[:, list(classes)].sum(axis=1), 0) * rng.gamma(4, 0.25, len(weights))
    features: np.ndarray = (row * MEAN_FEATURE / row.mean()).astype(np.float32)
    return features


def everyday(world: World, rng: np.random.Generator) -> list[Shot]:
    """N photos, each with tags drawn from the list without a project."""
    shots = [Shot(f"everyday {n}", photo(world, rng.integers(1000, size=2), rng), ["none"]) for n in range(NUM)]
    blank = Growing(world, shots)
    for number, shot in enumerate(shots):
        proposals = blank.proposals(number)
        drawn = [p.tag.lower() for p in proposals if rng.random() < p.score]
        shot.tags[:] = drawn or ["none"]
    blank.close()
    return shots


def unknown(world: World, rng: np.random.Generator) -> list[Shot]:
    """N photos in groups of similar ones, each with most tags of its group and the one that all have."""
    classes = [rng.integers(1000, size=2) for _ in GROUPS]
    shots = []
    for number in range(NUM):
        group = int(rng.integers(len(GROUPS)))
        tags = [tag for tag in GROUPS[group] if rng.random() < 0.8] or GROUPS[group][:1]
        shots.append(Shot(f"unknown {number}", photo(world, classes[group], rng), [*tags, "molpe"]))
    return shots


def replayed(world: World, shots: Sequence[Shot]) -> tuple[np.ndarray, np.ndarray]:
    """Return the measures (N, 3) of each photo's first list, with the project and without."""
    project, blank = Growing(world, shots), Growing(world, shots)
    ours, theirs = [], []
    for number in range(len(shots)):
        ours.append([p.tag.lower() for p in project.proposals(number)])
        theirs.append([p.tag.lower() for p in blank.proposals(number)])
        assert all(p.score >= LEAST_PROBABILITY for p in project.proposals(number))
        project.save(number)
    assert project.proposer._project.without_expectation() == []  # rows for new tags do not make a new tagger
    project.close()
    blank.close()
    return measure(ours, shots), measure(theirs, shots)


@pytest.mark.parametrize("kind", ["everyday", "unknown", "mixed"])
def test_a_project_is_never_worse_than_none_and_learns_an_unknown_subject(world: World, kind: str) -> None:
    rng = np.random.default_rng(11)
    shots = everyday(world, rng) if kind != "unknown" else []
    shots = [*shots, *(unknown(world, rng) if kind != "everyday" else [])]
    if kind == "mixed":
        shots = [shots[place] for place in rng.permutation(len(shots))[:NUM]]
    ours, theirs = replayed(world, shots)
    size = len(shots) // 4
    for quarter in range(4):
        difference = (ours - theirs)[quarter * size : (quarter + 1) * size]
        error = difference.std(axis=0, ddof=1) / np.sqrt(size)
        assert (difference.mean(axis=0) >= -NOISE * np.maximum(error, 1 / size)).all(), (
            quarter,
            by_quarters(ours).round(3).tolist(),
            by_quarters(theirs).round(3).tolist(),
        )
    if kind == "unknown":
        assert by_quarters(ours)[3, 0] > 0.7
        assert by_quarters(theirs)[3, 0] < 0.2
