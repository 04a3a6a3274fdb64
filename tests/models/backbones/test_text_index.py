import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from annotator.errors import BackboneError, ConfigError
from annotator.models.backbones import text_index as index_module
from annotator.models.backbones.text_index import TextIndex
from annotator.models.backbones.text_tower import clean, unit

SIZE = 16


class Hashed:
    """A text tower that gives each text a random direction, and counts its work."""

    version = "hashed"

    def __init__(self, size: int = SIZE) -> None:
        self.size, self.texts = size, list[str]()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        rows = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(self.size) for text in texts]
        return unit(np.array(rows, np.float32))


def test_the_nearest_words_are_those_with_the_highest_cosine_by_hand() -> None:
    tower = Hashed()
    index = TextIndex(tower)  # type: ignore[arg-type]
    words = [f"w{number}" for number in range(500)]
    assert index.set_words(words)
    rows = unit(
        Hashed().embed([f"a photo of {word}." for word in words]).astype(np.float16).astype(np.float32)
    )  # as kept
    photo = rows[7] + 0.3 * rows[9]
    cosines = rows @ unit(photo[None])[0]
    found = index.nearest(photo, 5)
    assert [item.word for item in found] == [words[place] for place in np.argsort(-cosines)[:5]]
    assert found[0].word == "w7"
    assert found[0].cosine == pytest.approx(cosines.max(), abs=1e-5)
    assert found[0].deviation == pytest.approx((cosines.max() - cosines.mean()) / cosines.std(), rel=1e-3)


def test_several_prompts_are_averaged() -> None:
    index = TextIndex(Hashed(), ["{}", "the {}"])  # type: ignore[arg-type]
    index.set_words(["cat", "dog"])
    wanted = unit((Hashed().embed(["cat"]) + Hashed().embed(["the cat"])) / 2)
    assert index.nearest(wanted[0], 1)[0].cosine == pytest.approx(1, abs=1e-5)


def test_words_are_embedded_once_and_kept_for_the_next_start(tmp_path: Path) -> None:
    first, second, other = Hashed(), Hashed(), Hashed()
    index = TextIndex(first, folder=tmp_path)  # type: ignore[arg-type]
    index.set_words(["cat", "dog"])
    index.set_words(["dog", "cat", "cow"])
    assert len(first.texts) == 3
    again = TextIndex(second, folder=tmp_path)  # type: ignore[arg-type]
    again.set_words(["cow", "cat", "dog", "eel"])
    assert second.texts == ["a photo of eel."]
    photo = Hashed().embed(["a photo of cat."])[0]
    assert again.nearest(photo, 1)[0].cosine == pytest.approx(1, abs=1e-3)
    TextIndex(other, ["{}"], folder=tmp_path).set_words(["cat"])  # type: ignore[arg-type]
    assert other.texts == ["cat"]


def test_words_from_the_file_are_scored_as_they_were_when_they_were_embedded(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(300)]
    fresh = TextIndex(Hashed(), folder=tmp_path)  # type: ignore[arg-type]
    fresh.set_words(words)
    again = TextIndex(Hashed(), folder=tmp_path)  # type: ignore[arg-type]
    photo = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    assert again.nearest(photo, 5) == []
    assert again.use_known([*words, "never embedded"]) == 300
    assert again.nearest(photo, 300) == fresh.nearest(photo, 300)


def test_a_damaged_file_is_computed_again(tmp_path: Path) -> None:
    TextIndex(Hashed(), folder=tmp_path).set_words(["cat"])  # type: ignore[arg-type]
    (path,) = tmp_path.glob("*.npz")
    for content in (b"", b"no archive", path.read_bytes()[:-40]):
        path.write_bytes(content)
        tower = Hashed()
        TextIndex(tower, folder=tmp_path).set_words(["cat"])  # type: ignore[arg-type]
        assert tower.texts == ["a photo of cat."]


def test_words_are_used_where_they_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    index = TextIndex(Hashed(), folder=tmp_path / "file")  # type: ignore[arg-type]
    with pytest.raises(BackboneError, match="cannot be kept in"):
        index.set_words(["cat", "dog"])
    assert len(index) == 2


def test_a_stopped_run_keeps_what_it_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "CHUNK", 2)
    tower, seen = Hashed(), list[tuple[int, int]]()
    index = TextIndex(tower, folder=tmp_path)  # type: ignore[arg-type]
    words = [f"w{number}" for number in range(9)]
    assert not index.set_words(words, lambda: len(tower.texts) >= 4, lambda done, num: seen.append((done, num)))
    assert (len(index), seen) == (4, [(2, 9), (4, 9)])
    rest = Hashed()
    assert TextIndex(rest, folder=tmp_path).set_words(words)  # type: ignore[arg-type]
    assert len(rest.texts) == 5


def test_no_words_and_one_word_stand_out_from_nothing() -> None:
    index = TextIndex(Hashed())  # type: ignore[arg-type]
    assert index.nearest(np.ones(SIZE, np.float32), 3) == []
    index.set_words(["cat"])
    assert index.nearest(np.ones(SIZE, np.float32), 3) == []
    index.set_words(["cat", "dog"])
    with pytest.raises(ValueError, match="must be"):
        index.nearest(np.ones(3, np.float32), 3)


@pytest.mark.parametrize("prompts", [[], ["a photo"], ["{} and {}"], ["{}" + "x" * 300], [7], ["{}"] * 101])
def test_prompts_that_cannot_be_used_are_refused(prompts: list[str]) -> None:
    with pytest.raises(ConfigError, match="prompt"):
        TextIndex(Hashed(), prompts)  # type: ignore[arg-type]


def test_many_words_are_found_as_without_the_short_cut_and_soon() -> None:
    """Embeddings with falling variances, as those of words have them."""
    size, num = 512, 100_000
    rng = np.random.default_rng(0)
    scales = (np.arange(1, size + 1) ** -0.5).astype(np.float32)
    rows = unit(rng.standard_normal((num, size), np.float32) * scales + 2 * scales)
    index = TextIndex(Hashed(size))  # type: ignore[arg-type]
    words = tuple(f"w{number}" for number in range(num))
    index._known = dict(zip(words, rows, strict=True))
    index.set_words(words)
    same, seconds = 0, []
    for place in range(20):
        photo = unit((rows[place] + 0.05 * rng.standard_normal(size).astype(np.float32))[None])[0]
        with threadpool_limits(1, user_api="blas"):  # as the server has it
            began = time.thread_time()
            found = index.nearest(photo, 15)
            seconds.append(time.thread_time() - began)
        cosines = rows @ photo
        best = np.argsort(-cosines)[:15]
        same += len({item.word for item in found} & {words[row] for row in best})
        assert found[0].deviation == pytest.approx((cosines.max() - cosines.mean()) / cosines.std(), rel=1e-2)
    assert same >= 0.97 * 20 * 15
    print(f"100,000 words: median {1000 * float(np.median(seconds)):.1f} ms of CPU")
    assert float(np.median(seconds)) < 0.03  # docs/performance.md has the figure


@pytest.mark.integration  # importing open_clip starts a process
@pytest.mark.parametrize(
    ("text", "how", "cleaned"),
    [
        ("  Two   Words ", "lower", "two words"),
        ("  Two   Words ", "whitespace", "Two Words"),
        ("Rock_'n'-Roll!", "canonicalize", "rock nroll"),
        ("caf&eacute; &amp;amp; bar", "lower", "caf\u00e9 & bar"),
    ],
)
def test_texts_are_cleaned_as_open_clip_cleans_them(text: str, how: str, cleaned: str) -> None:
    assert clean(text, how) == cleaned
    from open_clip.tokenizer import get_clean_fn

    assert get_clean_fn(how)(text) == cleaned
