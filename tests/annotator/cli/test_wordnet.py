from pathlib import Path

import pytest

from annotator.cli.main import main
from annotator.models.word_vectors import word_vectors
from annotator.models.word_vectors.word_vectors import load_word_vectors

LINES = "".join(
    f"{number:08d} 03 n 0{1 + len(words) - 1} {' '.join(f'{word} 0' for word in words)} "
    f"001 @ {parent:08d} n 0000 | a gloss  \n"
    for number, words, parent in [
        (1, ["thing"], 1), (2, ["car", "automobile"], 1), (3, ["traffic_light"], 1), (4, ["dog", "hound"], 5),
        (5, ["animal"], 1), (6, ["cat"], 5), (7, ["quokka"], 5), (8, ["tree"], 1), (9, ["serow"], 5),
    ]
)  # fmt: skip


@pytest.fixture
def wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "wordnet"
    folder.mkdir()
    (folder / "data.noun").write_text("  1 licence  \n" + LINES)
    return folder


def test_vectors_are_made_once_and_found(wordnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tags.txt").write_text("Quokkas\n\nunheard of\nautomobile\n", encoding="utf-8")
    command = ["wordnet", "build", "--wordnet", str(wordnet), "--size", "6", "--words", "2"]
    assert main([*command, "--tags", str(tmp_path / "tags.txt")]) == 0
    assert "9 meanings" in capsys.readouterr().err
    words = load_word_vectors("wordnet")
    assert (words.name, words.size) == ("wordnet", 6)
    # The given tags and those of the starter are included, beyond the two words of --words; the serow is in neither.
    assert words.vector("quokka") is not None
    assert words.vector("Traffic lights") is not None
    assert words.vector("serow") is None
    assert words.similarity("car", "automobile") == pytest.approx(1, abs=1e-3)
    assert main([*command, "--tags", str(tmp_path / "tags.txt")]) == 0
    assert "there already" in capsys.readouterr().out
    assert main(command) == 0
    assert load_word_vectors("wordnet").vector("quokka") is None


def test_a_missing_wordnet_is_reported_with_a_remedy(
    wordnet: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert word_vectors.find_wordnet_table() is None
    assert main(["wordnet", "build", "--wordnet", str(tmp_path)]) == 1
    assert "apt-get install wordnet-base" in capsys.readouterr().err
    assert main(["wordnet", "build", "--wordnet", str(wordnet), "--size", "0"]) == 1
    assert "--size must be at least 1" in capsys.readouterr().err
    assert main(["wordnet", "build", "--wordnet", str(wordnet), "--size", "650"]) == 1
    assert "need more than 650" in capsys.readouterr().err
    assert main(["wordnet", "build", "--wordnet", str(wordnet), "--tags", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err
