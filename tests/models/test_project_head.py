import numpy as np
import pytest

from annotator.models import project_head
from annotator.models.project_head import RIDGE, SHARPNESS, ProjectHead

SIZE = 12


def features(seed, num):
    return np.random.default_rng(seed).gamma(1.0, size=(num, SIZE)).astype(np.float32)


def solved(kept, photo):
    """The weights and the confidence by a plain loop over pairs and a general solver."""

    def row(values):
        root = [float(value) ** 0.5 for value in values]
        length = sum(value**2 for value in root) ** 0.5
        return [value / length for value in root]

    def kernel(a, b):
        return np.exp(-SHARPNESS * sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5)

    rows, own = [row(values) for values in kept], row(photo)
    matrix = [[kernel(a, b) + (RIDGE if i == j else 0.0) for j, b in enumerate(rows)] for i, a in enumerate(rows)]
    right = np.array([kernel(a, own) for a in rows])
    weights = np.linalg.solve(np.array(matrix), right)
    return weights, float(right @ weights)


def by_id(prediction):
    return dict(zip(prediction.photo_ids.tolist(), prediction.weights.tolist(), strict=True))


def test_weights_are_those_of_a_plain_solve():
    kept, photo = features(0, 7), features(1, 1)[0]
    head = ProjectHead(SIZE)
    for number, values in enumerate(kept):
        head.set(10 + number, values)
    prediction = head.predict(photo)
    weights, confidence = solved(kept, photo)
    assert by_id(prediction) == pytest.approx(dict(zip(range(10, 17), weights, strict=True)), abs=1e-6)
    assert prediction.confidence == pytest.approx(confidence, abs=1e-6)


def test_adding_replacing_and_removing_stays_exact():
    rng = np.random.default_rng(3)
    pool, head, kept = features(4, 400), ProjectHead(SIZE), {}
    for step in range(400):
        photo_id = int(rng.integers(40))
        if rng.random() < 0.3:
            head.remove(photo_id)
            kept.pop(photo_id, None)
        else:
            assert head.set(photo_id, pool[step]) is None
            kept[photo_id] = pool[step]
    photo = features(5, 1)[0]
    weights, confidence = solved(list(kept.values()), photo)
    prediction = head.predict(photo)
    assert by_id(prediction) == pytest.approx(dict(zip(kept, weights, strict=True)), abs=1e-6)
    assert prediction.confidence == pytest.approx(confidence, abs=1e-6)


@pytest.mark.parametrize("out", [[2], [0, 3, 5], [0, 1, 2, 3, 4, 5]])
def test_photos_left_out_count_as_never_added(out):
    kept = features(6, 6)
    head, without = ProjectHead(SIZE), ProjectHead(SIZE)
    for number, values in enumerate(kept):
        head.set(number, values)
        if number not in out:
            without.set(number, values)
    own, other = head.predict(kept[2], [*out, 99]), without.predict(kept[2])
    assert by_id(own) == pytest.approx(by_id(other), abs=1e-9)
    assert own.confidence == pytest.approx(other.confidence, abs=1e-9)
    assert own.nearest == pytest.approx(other.nearest)


def test_loading_is_as_adding():
    kept, photo = features(7, 9), features(8, 1)[0]
    loaded, added = ProjectHead(SIZE), ProjectHead(SIZE)
    loaded.set(99, photo)
    loaded.load(range(9), kept)
    for number, values in enumerate(kept):
        added.set(number, values)
    assert by_id(loaded.predict(photo)) == pytest.approx(by_id(added.predict(photo)), abs=1e-9)
    assert loaded.predict(photo).usual == pytest.approx(added.predict(photo).usual)
    loaded.load([], kept[:0])
    assert not len(loaded)


def test_when_full_the_photo_that_the_others_predict_best_is_removed():
    kept = features(9, 5)
    head = ProjectHead(SIZE, max_photos=5)
    for number, values in enumerate(kept):
        head.set(number, values)
    assert head.set(5, kept[3] * 1.0001) in (3, 5)
    assert len(head) == 5
    head.load(range(50), features(10, 50))
    assert len(head) == 5
    assert head.photo_ids[0] == 0
    assert head.photo_ids[-1] == 49


def test_confidence_grows_with_near_photos_and_is_0_without():
    photo = features(11, 1)[0]
    head = ProjectHead(SIZE)
    assert head.predict(photo).confidence == 0.0
    assert head.predict(photo).nearest == -1.0
    head.set(1, features(12, 1)[0])
    far = head.predict(photo).confidence
    head.set(2, photo * 1.01)
    assert 0.0 < far < head.predict(photo).confidence <= 1.0


def test_nearness_is_relative_to_what_is_usual(monkeypatch):
    monkeypatch.setattr(project_head, "USUAL_EVERY", 1)
    base = features(13, 1)[0]
    near = base * (1 + 0.05 * np.random.default_rng(14).random((6, SIZE))).astype(np.float32)
    head = ProjectHead(SIZE)
    for number, values in enumerate(near):
        head.set(number, values)
    other = np.zeros(SIZE, np.float32)
    other[0] = 1.0
    assert head.predict(base).nearness.min() > 0.9
    assert head.predict(other).nearness.max() < 0.1


def test_refuses_what_does_not_fit():
    head = ProjectHead(SIZE)
    with pytest.raises(ValueError, match="shape"):
        head.set(1, np.zeros(SIZE + 1, np.float32))
    with pytest.raises(ValueError, match="finite"):
        head.predict(np.full(SIZE, np.nan, np.float32))
    with pytest.raises(ValueError, match="at least 1"):
        ProjectHead(SIZE, max_photos=0)
    with pytest.raises(ValueError, match="one id a photo"):
        head.load([1, 1], features(15, 2))
    assert not len(head)
