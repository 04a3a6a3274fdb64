import gc
import gzip
import os
import pickle
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gensim.utils
import numpy as np
import pytest
from gensim.models import FastText, KeyedVectors, keyedvectors
from gensim.models.fasttext import save_facebook_model
from numpy.testing._private import utils as numpy_test_utils

from annotator.errors import WordVectorError
from annotator.models.word_vectors import glove_package, word_vectors
from annotator.models.word_vectors.word_vector_files import (
    Table,
    Vectors,
    cache_path,
    read_file,
    read_table,
    write_table,
)
from annotator.models.word_vectors.word_vectors import WordVectors, load_word_vectors

WORDS = ["dog", "cat", "car", "light", "traffic", "skyscraper", "of", "cafe", "ice_cream", "t-shirt"]
Writer = Callable[[Path, list[str], Vectors], None]


@pytest.fixture
def vectors() -> Vectors:
    return np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)


@pytest.fixture
def words(vectors: Vectors) -> WordVectors:
    table = Table({word: row for row, word in enumerate(WORDS)}, WORDS, vectors)
    return WordVectors("test", "1", table, only_latin=True)


def write_text(path: Path, words: list[str], vectors: Vectors, header: bool = True) -> None:
    rows = [f"{word} {' '.join(str(value) for value in row)}" for word, row in zip(words, vectors, strict=True)]
    head = [f"{len(words)} {vectors.shape[1]}"] if header else []
    text = "\n".join([*head, *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_glove(path: Path, words: list[str], vectors: Vectors) -> None:
    write_text(path, words, vectors, header=False)


def write_binary(path: Path, words: list[str], vectors: Vectors) -> None:
    content = f"{len(words)} {vectors.shape[1]}\n".encode()
    for word, row in zip(words, vectors, strict=True):
        content += word.encode() + b" " + row.tobytes() + b"\n"
    path.write_bytes(content)


def write_kv(path: Path, words: list[str], vectors: Vectors) -> None:
    table = KeyedVectors(vectors.shape[1])
    table.add_vectors(words, vectors)
    table.save(str(path))


# Looking up


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("Dog", ["dog"]), ("dogs", ["dog"]), ("traffic light", ["traffic", "light"]),
        ("trafficlights", ["traffic", "light"]), ("sky scraper", ["skyscraper"]), ("Café", ["cafe"]),
        ("cafe\u0301s", ["cafe"]), ("ice cream", ["ice_cream"]), ("ice creams", ["ice_cream"]),
        ("T shirt", ["t-shirt"]), ("light of cats", ["light", "cat"]), ("unheard dog", ["dog"]), ("of", ["of"]),
    ],
)  # fmt: skip
def test_a_tag_is_found_by_its_forms(words: WordVectors, vectors: Vectors, tag: str, parts: list[str]) -> None:
    found = words.vector(tag)
    assert found is not None
    np.testing.assert_allclose(found, np.mean([vectors[WORDS.index(part)] for part in parts], axis=0), atol=1e-6)


@pytest.mark.parametrize("tag", ["犬", "dog 犬", "собака", "xyzzy", "---", "🐕", "of unheard"])
def test_an_unknown_tag_has_no_vector(words: WordVectors, tag: str) -> None:
    assert words.vector(tag) is None


def test_vectors_of_another_language_have_tags_of_its_script(vectors: Vectors) -> None:
    table = Table({"собака": 0}, ["собака"], vectors[:1])
    assert WordVectors("own", "1", table, only_latin=False).vector("Собака") is not None


def test_the_matrix_has_zero_rows_for_unknown_tags(words: WordVectors, vectors: Vectors) -> None:
    rows, known = words.matrix(["cat", "xyzzy", "car"])
    assert rows.shape == (3, 6)
    assert known.tolist() == [True, False, True]
    np.testing.assert_array_equal(rows, [vectors[1], np.zeros(6), vectors[2]])


def test_only_the_new_tags_of_a_vocabulary_are_looked_up(
    words: WordVectors, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    matrix = WordVectors.matrix

    def noted(self: WordVectors, tags: list[str]) -> object:
        asked.extend(tags)
        return matrix(self, tags)

    monkeypatch.setattr(WordVectors, "matrix", noted)
    tags = ["dog", "xyzzy"]
    for more in ("cat", "car", "light", "skyscraper", "traffic", "plugh", "ice_cream"):
        tags = [more, *tags]  # in another order, too: tags in use come by their frequency
        expected = sorted((tag for tag in tags if tag in WORDS), key=lambda tag: -_cosine(vectors, tag, "dog"))
        found = words.nearest(vectors[WORDS.index("dog")], 3, tags)
        assert [tag for tag, _ in found] == expected[:3]
    assert sorted(asked) == sorted(tags)


def test_the_cache_of_rows_is_cleared_when_it_is_full(
    words: WordVectors, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_vectors, "MAX_VECTORS_KEPT", 3)
    for tags in (["dog", "cat"], ["car", "light", "cat"], ["dog", "xyzzy", "dog"], WORDS):
        known = {tag for tag in tags if tag in WORDS}
        found = words.nearest(vectors[0], len(tags), tags)
        assert {tag for tag, _ in found} == known
        for tag, cosine in found:
            assert cosine == pytest.approx(_cosine(vectors, tag, "dog"), abs=1e-5)


def _cosine(vectors: Vectors, tag: str, other: str) -> float:
    one, two = vectors[WORDS.index(tag)], vectors[WORDS.index(other)]
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def test_the_nearest_are_those_of_a_plain_loop(words: WordVectors, vectors: Vectors) -> None:
    allowed = ["car", "xyzzy", "traffic light", "cat", "犬"]
    query = vectors[0]
    found = words.nearest(query, 2, allowed)
    cosines = {}
    for tag in ("car", "traffic light", "cat"):
        other = words.vector(tag)
        assert other is not None
        cosines[tag] = sum(a * b for a, b in zip(query, other, strict=True)) / (
            sum(a * a for a in query) ** 0.5 * sum(b * b for b in other) ** 0.5
        )
    expected = sorted(cosines.items(), key=lambda item: -item[1])[:2]
    assert [tag for tag, _ in found] == [tag for tag, _ in expected]
    assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)


def test_of_equally_near_tags_those_named_first_are_returned() -> None:
    tags = [f"tag{number}" for number in range(60)]
    rows = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    words = WordVectors("test", "1", Table({tag: row for row, tag in enumerate(tags)}, tags, rows), only_latin=True)
    for k in (1, 5, 20, 25, 60, 70):
        found = [tag for tag, _ in words.nearest(np.array([1, 0.5, 0.25], np.float32), k, tags)]
        assert found == sorted(tags, key=lambda tag: int(tag[3:]) % 3)[:k]


def test_nothing_is_near_a_zero_vector(words: WordVectors) -> None:
    assert words.nearest(np.zeros(6, np.float32), 3, ["dog"]) == []
    assert words.nearest(np.ones(6, np.float32), 3, ["犬"]) == []


def test_similarity_is_the_cosine(words: WordVectors) -> None:
    assert words.similarity("dog", "Dogs") == pytest.approx(1)
    assert words.similarity("dog", "xyzzy") is None
    one, other = words.similarity("dog", "cat"), words.similarity("cat", "dog")
    assert one is not None
    assert one == pytest.approx(other)


def test_sizes_and_overlap_are_checked_in_a_sentence(words: WordVectors) -> None:
    with pytest.raises(WordVectorError, match="6 values; a vector of the shape"):
        words.nearest(np.ones(5, np.float32), 1, ["dog"])
    assert words.count_unknown(["犬", "xyzzy"]) == (2, 1)
    assert words.count_unknown(["dog", "xyzzy"]) == (1, 0)
    note = words.describe_unknown(["dog", "犬", "xyzzy"])
    assert note == "2 of 3 tags have no word vector in test, 1 of them in another script: 犬, xyzzy."
    assert words.describe_unknown(["dog"]) == ""


# Files


@pytest.mark.parametrize(
    ("writer", "name"),
    [(write_text, "a.vec"), (write_text, "a.txt.gz"), (write_glove, "a.txt"), (write_binary, "a.bin"), (write_kv, "a")],
)
def test_every_kind_of_file_is_read(tmp_path: Path, vectors: Vectors, writer: Writer, name: str) -> None:
    writer(tmp_path / name, [*WORDS[:-1], "犬"], vectors)
    loaded = load_word_vectors(str(tmp_path / name))
    assert (loaded.name, loaded.size) == ("a", 6)
    for word, row in zip([*WORDS[:-1], "犬"], vectors, strict=True):
        found = loaded.vector(word)
        assert found is not None
        np.testing.assert_allclose(found, row, rtol=1e-5)


def test_a_fasttext_model_is_read(tmp_path: Path) -> None:
    model = FastText([["dog", "cat", "car"]] * 5, vector_size=6, min_count=1, epochs=1, bucket=50, workers=1, seed=1)
    save_facebook_model(model, str(tmp_path / "model.bin"))
    words, rows = read_file(tmp_path / "model.bin")
    assert rows.shape == (3, 6)
    np.testing.assert_allclose(rows[words.index("dog")], model.wv["dog"], rtol=1e-5)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_gensims_tables_are_read_as_gensim_reads_them(tmp_path: Path, vectors: Vectors, protocol: int) -> None:
    plain = KeyedVectors(6)
    plain.add_vectors(WORDS, np.asfortranarray(vectors))
    plain.set_vecattr("dog", "count", 7)
    plain.fill_norms()
    subwords = FastText([["dog", "cat", "car"]] * 5, vector_size=6, min_count=1, epochs=1, bucket=50, workers=1, seed=1)
    for table in (plain, subwords.wv):
        for separately in ([], ["vectors", "vectors_vocab"]):
            table.save(str(tmp_path / "a.kv"), pickle_protocol=protocol, separately=list(separately))
            words, rows = read_file(tmp_path / "a.kv")
            assert words == table.index_to_key
            np.testing.assert_array_equal(rows, table.vectors)


class Word2VecKeyedVectors:
    """A word as gensim 3 stored it, with a record each."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors, self.index2word, self.vector_size = vectors, WORDS, 6
        self.vocab = {word: keyedvectors.Vocab(index=place, count=1) for place, word in enumerate(WORDS)}


def test_a_table_of_gensim_3_is_read(tmp_path: Path, vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Word2VecKeyedVectors, "__module__", keyedvectors.__name__)
    monkeypatch.setattr(keyedvectors, "Word2VecKeyedVectors", Word2VecKeyedVectors, raising=False)
    content = pickle.dumps(Word2VecKeyedVectors(vectors), protocol=2)
    assert content.count(b"numpy._core.multiarray") == 1
    (tmp_path / "old.kv").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    words, rows = read_file(tmp_path / "old.kv")
    assert words == WORDS
    np.testing.assert_array_equal(rows, vectors)


def test_a_changed_file_is_another_version(tmp_path: Path, vectors: Vectors) -> None:
    path = tmp_path / "own.txt"
    write_glove(path, WORDS, vectors)
    first = load_word_vectors(path)
    write_glove(path, WORDS, vectors + 1)
    second = load_word_vectors(path)
    assert first.version != second.version
    one, other = first.vector("dog"), second.vector("dog")
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one + 1, other, rtol=1e-5)


def test_words_are_in_memory_once_however_often_they_are_loaded(tmp_path: Path, vectors: Vectors) -> None:
    write_glove(tmp_path / "own.txt", WORDS, vectors)
    first, second = load_word_vectors(tmp_path / "own.txt"), load_word_vectors(tmp_path / "own.txt")
    assert first._table is second._table
    write_glove(tmp_path / "own.txt", WORDS, vectors + 1)
    assert load_word_vectors(tmp_path / "own.txt")._table is not first._table


def break_nothing_left(path: Path, vectors: Vectors) -> None:
    path.write_bytes(b"")


def break_cut_binary(path: Path, vectors: Vectors) -> None:
    write_binary(path, WORDS, vectors)
    path.write_bytes(path.read_bytes()[:-40])


def break_cut_text(path: Path, vectors: Vectors) -> None:
    write_text(path, WORDS, vectors)
    path.write_text("\n".join(path.read_text().splitlines()[:-2]))


def break_short_row(path: Path, vectors: Vectors) -> None:
    write_glove(path, WORDS, vectors)
    path.write_text(path.read_text() + "lion 1.0 2.0\n")


def break_greedy_header(path: Path, vectors: Vectors) -> None:
    path.write_bytes(b"9000000000 300\n" + struct.pack("<4f", 1, 2, 3, 4))


def break_not_finite(path: Path, vectors: Vectors) -> None:
    write_binary(path, WORDS, np.where(np.arange(6) == 2, np.nan, vectors).astype(np.float32))


def break_prose(path: Path, vectors: Vectors) -> None:
    path.write_text("All happy families are alike.\nEvery unhappy one is not.\n")


def break_zero_header(path: Path, vectors: Vectors) -> None:
    path.write_text("0 0\n")


def break_pickle(path: Path, vectors: Vectors) -> None:
    write_kv(path, WORDS, vectors)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def break_other_pickle(path: Path, vectors: Vectors) -> None:
    path.write_bytes(pickle.dumps({"dog": 1}))


def break_cut_fasttext(path: Path, vectors: Vectors) -> None:
    path.write_bytes(struct.pack("<i", 793_712_314) + b"\x0c\x00\x00\x00garbage")


def break_fasttext_subwords(path: Path, vectors: Vectors) -> None:
    make_fasttext(path, vectors)
    content = bytearray(path.read_bytes())
    assert struct.unpack("<2i", content[44:52]) == (3, 6)
    content[44:48] = struct.pack("<i", -(2**31))
    path.write_bytes(content)


def break_fasttext_words(path: Path, vectors: Vectors) -> None:
    make_fasttext(path, vectors)
    path.write_bytes(path.read_bytes()[:120].rstrip(b"\0") + b"x")


def break_fasttext_greedy(path: Path, vectors: Vectors) -> None:
    make_fasttext(path, vectors)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<i", 2**31 - 1)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "break_file",
    [
        break_nothing_left, break_cut_binary, break_cut_text, break_short_row, break_greedy_header, break_not_finite,
        break_prose, break_zero_header, break_pickle, break_other_pickle, break_cut_fasttext,
        break_fasttext_subwords, break_fasttext_words, break_fasttext_greedy,
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(
    tmp_path: Path, vectors: Vectors, break_file: Callable[[Path, Vectors], None]
) -> None:
    path = tmp_path / "broken"
    break_file(path, vectors)
    with pytest.raises(WordVectorError, match="broken") as caught:
        load_word_vectors(str(path))
    assert "\n" not in str(caught.value)


def make_word2vec(path: Path, vectors: Vectors) -> None:
    write_binary(path, WORDS, vectors)


def make_text(path: Path, vectors: Vectors) -> None:
    write_text(path, WORDS, vectors)


def make_kv(path: Path, vectors: Vectors) -> None:
    write_kv(path, WORDS, vectors)


def make_fasttext(path: Path, vectors: Vectors) -> None:
    model = FastText([WORDS] * 5, vector_size=6, min_count=1, epochs=1, bucket=50, workers=1, seed=1)
    save_facebook_model(model, str(path))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # sums of numbers that are too large
@pytest.mark.parametrize(
    ("make_file", "name"),
    [
        (make_text, "broken.txt"), (make_text, "broken.txt.gz"), (make_word2vec, "broken.bin"),
        (make_fasttext, "broken.fasttext"), (make_kv, "broken.kv"),
    ],
)  # fmt: skip
def test_a_file_with_changed_bytes_is_read_or_one_sentence(
    tmp_path: Path, vectors: Vectors, make_file: Callable[[Path, Vectors], None], name: str
) -> None:
    path = tmp_path / name
    make_file(path, vectors)
    whole = path.read_bytes()
    problems = []
    for seed in range(120):
        rng = random.Random(seed)
        content = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3])):
            at = rng.randrange(len(content))
            content[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(1, 4))
        path.write_bytes(content)
        try:
            read_file(path)
        except WordVectorError as error:
            problems.append(str(error))
    assert problems
    assert [problem for problem in problems if "broken" not in problem or "\n" in problem] == []


class Malicious:
    """A function and its arguments, as in a pickle."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.named = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.named


def pickle_text(text: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(text)]) + text.encode()


def pickle_call(module: str, name: str, argument: str) -> bytes:
    """Return a pickle, protocol 4, that calls a function by a name that may have dots."""
    named = pickle_text(module) + pickle_text(name) + pickle.STACK_GLOBAL
    return pickle.PROTO + b"\x04" + named + pickle_text(argument) + b"\x85" + pickle.REDUCE + pickle.STOP


def test_a_pickle_cannot_run_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write = "open('was-run', 'w')"
    attacks = [
        ("mkdir", pickle.dumps(Malicious(os.mkdir, "was-run"))),
        ("check_output", pickle.dumps(Malicious(gensim.utils.check_output, -1, ["touch", "was-run"]))),
        ("os.system", pickle_call("gensim.utils", "os.system", "touch was-run")),
        ("os.system", pickle_call("gensim.models.keyedvectors", "utils.os.system", "touch was-run")),
        ("runstring", pickle.dumps(Malicious(numpy_test_utils.runstring, write, {}))),
        ("eval", pickle.dumps(Malicious(eval, write))),
    ]
    for name, content in attacks:
        (tmp_path / "evil.kv").write_bytes(content)
        with pytest.raises(WordVectorError, match=name):
            load_word_vectors(str(tmp_path / "evil.kv"))
        assert not (tmp_path / "was-run").exists()


def test_files_beside_a_pickle_cannot_run_anything(
    tmp_path: Path, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = Malicious(os.mkdir, "was-run")
    table = KeyedVectors(6)
    table.add_vectors(WORDS, vectors)
    table.save("own.kv", separately=["vectors"])
    np.save("own.kv.vectors.npy", np.array([[evil, evil]], object), allow_pickle=True)
    with pytest.raises(WordVectorError, match=r"own\.kv is damaged"):
        load_word_vectors("own.kv")
    Path("own.kv.vectors.npy").write_bytes(pickle.dumps(evil))
    with pytest.raises(WordVectorError, match=r"own\.kv is damaged"):
        load_word_vectors("own.kv")
    np.save("own.kv.vectors.npy", vectors)
    # gensim would unpickle the head of a sparse matrix from a file of its own.
    table.__dict__.update({"__numpys": ["vectors"], "__scipys": ["extra"]})
    del table.vectors
    Path("own.kv").write_bytes(pickle.dumps(table))
    Path("own.kv.extra.npy").write_bytes(pickle.dumps(evil))
    np.testing.assert_array_equal(load_word_vectors("own.kv").vector("dog"), vectors[0])
    assert not Path("was-run").exists()


def test_numbers_cannot_be_passed_off_as_objects(tmp_path: Path, vectors: Vectors) -> None:
    """numpy would use the numbers as addresses."""
    write_kv(tmp_path / "own.kv", WORDS, vectors)
    content = (tmp_path / "own.kv").read_bytes()
    assert content.count(b"\x8c\x02f4") == 1
    for code in (b"O8", b"U4", b"i4", b"V4"):
        (tmp_path / "own.kv").write_bytes(content.replace(b"\x8c\x02f4", b"\x8c\x02" + code))
        with pytest.raises(WordVectorError, match="no table of numbers"):
            load_word_vectors(tmp_path / "own.kv")


def test_missing_vectors_are_reported_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WordVectorError, match="neither glove nor wordnet"):
        load_word_vectors("glov")
    with pytest.raises(WordVectorError, match="annotator wordnet build"):
        load_word_vectors("wordnet")
    monkeypatch.setattr(glove_package, "_MODULE", "no_such_package")
    with pytest.raises(WordVectorError, match="pip install"):
        load_word_vectors("glove")


# The cache


def test_an_existing_table_stays(tmp_path: Path, vectors: Vectors) -> None:
    write_table(tmp_path / "t", WORDS, vectors)
    write_table(tmp_path / "t", WORDS, vectors + 1)
    np.testing.assert_array_equal(read_table(tmp_path / "t").vectors, vectors)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_a_damaged_cache_is_removed_and_written_again(tmp_path: Path, vectors: Vectors) -> None:
    write_glove(tmp_path / "own.txt", WORDS, vectors)
    version = load_word_vectors(tmp_path / "own.txt").version
    (folder,) = cache_path().glob(f"file-{version}-*")
    gc.collect()  # else the table is still in memory
    (folder / "vectors.kv").write_bytes(b"\x80nonsense")
    with pytest.raises(WordVectorError, match="try again"):
        load_word_vectors(tmp_path / "own.txt")
    assert load_word_vectors(tmp_path / "own.txt").version == version


@pytest.mark.integration
def test_two_processes_may_write_one_table_at_once(tmp_path: Path, vectors: Vectors) -> None:
    write_glove(tmp_path / "own.txt", WORDS, vectors)
    code = (
        "import sys; from annotator.models.word_vectors.word_vectors import load_word_vectors; "
        "print(load_word_vectors(sys.argv[1]).vector('dog')[0])"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, str(tmp_path / "own.txt")]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [float(output) for output in outputs] == pytest.approx([float(vectors[0, 0])] * 2)
    assert len(list((tmp_path / "cache" / "annotator" / "word_vectors").iterdir())) == 1


# The installed vectors


@pytest.fixture(scope="module")
def glove() -> WordVectors:
    return load_word_vectors()


def test_glove_is_installed(glove: WordVectors) -> None:
    assert (glove.name, glove.size, glove.num_words) == ("glove", 50, 400_000)
    assert glove.nearest(np.asarray(glove.vector("bike")), 2, ["bicycle", "ocean", "cake"])[0][0] == "bicycle"


@pytest.mark.parametrize(
    ("tag", "same"),
    [
        ("pottedplant", "potted plant"), ("trafficlights", "traffic light"), ("sky scraper", "skyscraper"),
        ("diningtable", "dining table"), ("trafficlight", "traffic light"), ("aeroplane", "airplane"),
    ],
)  # fmt: skip
def test_labels_of_the_common_data_sets_are_found(glove: WordVectors, tag: str, same: str) -> None:
    assert glove.similarity(tag, same) == pytest.approx(1, abs=1e-5)


def test_a_plural_is_nearest_to_its_singular(glove: WordVectors) -> None:
    found = glove.vector("traffic lights")
    assert found is not None
    others = ["traffic", "traffic jam", "street light", "light", "traffic light", "lightning"]
    assert glove.nearest(found, 1, others)[0][0] == "traffic light"
    assert 0.9 < glove.nearest(found, 1, others)[0][1] < 1


def test_other_scripts_have_no_english_vector(glove: WordVectors) -> None:
    assert glove.vector("東京") is None
    assert "another script" in glove.describe_unknown(["東京", "dog"])
