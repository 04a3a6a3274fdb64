from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.cli.main import main
from annotator.models.tagger import Features
from annotator.models.word_vectors import word_vectors
from annotator.models.word_vectors.word_vector_files import Table
from annotator.models.word_vectors.word_vectors import WordVectors, choose_source
from annotator.proposals.vocabulary.similar_tags import SimilarTags
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort
from annotator.storage.project import Project

ROWS = {"car": [1.0, 0, 0], "automobile": [0.95, 0.1, 0], "truck": [0.7, 0.6, 0], "zebroid": [0, 0, 1.0]}


@pytest.fixture
def vectors() -> WordVectors:
    # The horse is nearly a zebroid; nothing else is near to it.
    words = {**ROWS, "horse": [0, 0.05, 1.0], "cow": [0, 0.3, 0.8]}
    matrix: Features = np.array(list(words.values()), np.float32)
    table = Table({word: row for row, word in enumerate(words)}, list(words), matrix)
    return WordVectors("tiny", "1", table, only_latin=True)


@pytest.fixture
def opened(
    open_project: Callable[..., Session],
    demo_photos: Path,
    vectors: WordVectors,
    monkeypatch: pytest.MonkeyPatch,
) -> Session:
    opened = open_project(demo_photos, tagger="starter/jvsp")
    monkeypatch.setattr("annotator.proposals.vocabulary.similar_tags.load_word_vectors", lambda source: vectors)
    opened.workspace.similar_tags.load()
    return opened


def completions(opened: Session, text: str, *kept: str) -> list[tuple[str, str]]:
    found = opened.tagging.complete("local", 1, text, kept)["completions"]
    return [(item["tag"], item["source"]) for item in found]


def test_a_word_of_the_same_meaning_is_offered_after_the_literal_ones(opened: Session) -> None:
    found = completions(opened, "automobile")
    sources = [source for _, source in found]
    first = sources.index("meaning")
    assert found[first] == ("car", "meaning")
    assert set(sources[first:]) == {"meaning"}
    assert ("car", "meaning") not in completions(opened, "automobile", "car")


def test_a_tag_in_use_needs_no_other_of_its_meaning(opened: Session) -> None:
    session = opened
    assert ("car", "meaning") in completions(opened, "automobile")
    session.tagging.save(
        "local", EditedList(1, session.navigation.open("local", 1)["revision"], ["automobile"], [], Effort())
    )
    assert all(source != "meaning" for _, source in completions(opened, "automobile"))


def test_nothing_is_found_by_meaning_before_the_vectors_are_there(vectors: WordVectors) -> None:
    similar_tags = SimilarTags("")
    assert similar_tags.near("automobile", [("car",)]) == []
    assert similar_tags.describe() == "not loaded yet"
    similar_tags.vectors = vectors
    assert similar_tags.near("automobile", [("car",), ("Car", "truck")]) == ["car", "truck"]
    assert similar_tags.near("au", [("car",)]) == similar_tags.near("犬犬犬", [("car",)]) == []


def test_vectors_that_cannot_be_loaded_leave_a_sentence(tmp_path: Path) -> None:
    similar_tags = SimilarTags(str(tmp_path / "gone.vec"))
    similar_tags.load()
    assert similar_tags.vectors is None
    assert "no such file" in similar_tags.describe()


def test_an_untrained_tag_is_proposed_as_soon_as_it_was_saved(opened: Session) -> None:
    session = opened
    before = session.workspace.catalog.taggers[0].allowed_words()
    assert "zebroid" not in before
    session.tagging.save(
        "local", EditedList(1, session.navigation.open("local", 1)["revision"], ["zebroid", "cars", "犬"], [], Effort())
    )
    tagger = session.workspace.catalog.taggers[0]
    # "cars" is a form of a known tag, and of the other nothing is known.
    assert set(tagger.allowed_words()) - set(before) == {"zebroid"}
    assert tagger.version.endswith("+1")
    session.administration.set_tagger("local", "starter/scnn_rnn")
    assert "zebroid" in session.workspace.catalog.taggers[0].allowed_words()
    assert "zebroid" in session.workspace.proposer.scores(2, _no_words())


def _no_words() -> Any:
    from annotator.proposals.evidence import Words

    return Words()


def test_the_setting_is_kept_only_if_the_vectors_can_be_loaded(
    tmp_path: Path, demo_photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("annotator.cli.serve.run_server", lambda *arguments: None)
    (tmp_path / "own.txt").write_text("car 1 0\ndog 0 1\n")
    command = ["serve", str(demo_photos), "--project", str(tmp_path / "p"), "--word-vectors"]
    assert main([*command, str(tmp_path / "own.txt")]) == 0
    assert Project(tmp_path / "p").settings.word_vectors == str(tmp_path / "own.txt")
    assert capsys.readouterr().err == ""
    (tmp_path / "bad.txt").write_text("car 1 0\ndog 0\n")
    assert main([*command, str(tmp_path / "bad.txt")]) == 1
    assert "bad.txt is damaged" in capsys.readouterr().err
    assert Project(tmp_path / "p").settings.word_vectors == str(tmp_path / "own.txt")


def test_wordnets_vectors_are_taken_where_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_source("glove") == "glove"
    monkeypatch.setattr("annotator.models.word_vectors.word_vectors.find_wordnet_table", lambda: None)
    assert choose_source("") == word_vectors.DEFAULT_VECTORS
    monkeypatch.setattr("annotator.models.word_vectors.word_vectors.find_wordnet_table", lambda: Path("somewhere"))
    assert choose_source("") == word_vectors.WORDNET


def test_any_failure_to_load_is_described(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(source: str) -> WordVectors:
        raise OverflowError("a number\nis too large")

    monkeypatch.setattr("annotator.proposals.vocabulary.similar_tags.load_word_vectors", fail)
    similar_tags = SimilarTags("own.txt", lambda vectors: pytest.fail("nothing was loaded"))
    similar_tags.start().join()
    assert similar_tags.describe() == "The word vectors could not be loaded: a number is too large."
    assert similar_tags.near("automobile", [["car"]]) == []
    assert "OverflowError" in caplog.text


def test_tags_in_use_without_a_vector_are_reported(
    opened: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened
    assert session.navigation.state("local")["tags_without_vector"] == ""
    session.tagging.save(
        "local", EditedList(1, session.navigation.open("local", 1)["revision"], ["car", "xyzzy", "東京"], [], Effort())
    )
    state = session.navigation.state("local")
    assert state["word_vectors"] == "tiny 1, 3 values"
    sentence = state["tags_without_vector"]
    assert sentence.startswith("2 of 3 tags in use have no word vector in tiny, 1 of them in another script: ")
    assert session.navigation.state("local")["tags_without_vector"] is sentence
    folder = opened.workspace.project.folder
    opened.close()
    monkeypatch.setattr("annotator.cli.serve.run_server", lambda *arguments: None)
    (tmp_path / "own.txt").write_text("car 1 0\ndog 0 1\n")
    assert main(["serve", str(folder), "--word-vectors", str(tmp_path / "own.txt")]) == 0
    assert "2 of 3 tags in use have no word vector in own: xyzzy, 東京." in capsys.readouterr().err
