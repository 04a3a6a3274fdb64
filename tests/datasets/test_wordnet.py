from pathlib import Path

import pytest

from annotator.datasets.wordnet import INSTRUCTIONS, data_files, find_wordnet, read_counts, read_synsets
from annotator.errors import DataError

LICENCE = "  1 This is the licence.  \n"
NOUNS = (
    "00000010 03 n 02 car 0 automobile 0 002 @ 00000020 n 0000 + 00000040 v 0101 | a motor vehicle  \n"
    "00000020 03 n 01 Motor_vehicle 0 001 ~ 00000010 n 0000 | it has | a bar  \n"
)
VERBS = "00000040 38 v 01 drive 0 001 + 00000010 n 0101 01 + 02 00 | go by car  \n"
ADJECTIVES = "00000050 00 s 02 galore(ip) 1 many a 000 | abundant  \n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("noun", NOUNS), ("verb", VERBS), ("adj", ADJECTIVES)):
        (tmp_path / f"data.{name}").write_text(LICENCE + text)
    (tmp_path / "cntlist.rev").write_text("car%1:03:00:: 1 71\ngalore%5:00:01:many:00 1 2\n")
    return tmp_path


def test_synsets_are_read_with_words_and_relations(folder: Path) -> None:
    synsets = {synset.key: synset for synset in read_synsets(folder)}
    assert set(synsets) == {"n00000010", "n00000020", "v00000040", "a00000050"}
    car = synsets["n00000010"]
    assert car.lemmas == ("car", "automobile")
    assert car.related == ("n00000020", "v00000040")
    assert synsets["n00000020"].lemmas == ("motor_vehicle",)
    assert synsets["a00000050"].lemmas == ("galore", "many")


def test_counts_belong_to_senses(folder: Path) -> None:
    counts = read_counts(folder)
    senses = {lemma: key for s in read_synsets(folder) for lemma, key in zip(s.lemmas, s.sense_keys, strict=True)}
    assert counts == {senses["car"]: 71, senses["galore"]: 2}


def test_the_folder_is_found_or_how_to_get_it_is_said(folder: Path, tmp_path: Path) -> None:
    assert find_wordnet(folder) == folder
    (folder / "sub").mkdir()
    with pytest.raises(DataError, match=r"no file data\.noun.*apt-get install wordnet-base"):
        find_wordnet(folder / "sub")
    assert [path.name for path in data_files(folder)] == ["data.noun", "data.verb", "data.adj", "cntlist.rev"]


@pytest.mark.parametrize("line", ["00000010 03 n zz car 0\n", "not a synset at all\n", "00000010 03 n 02 car 0 000\n"])
def test_a_damaged_line_is_named(folder: Path, line: str) -> None:
    (folder / "data.noun").write_text(LICENCE + line)
    with pytest.raises(DataError, match=r"data\.noun, line 2 is no synset") as caught:
        list(read_synsets(folder))
    assert INSTRUCTIONS in str(caught.value)


def test_a_damaged_count_is_named(folder: Path) -> None:
    (folder / "cntlist.rev").write_text("car 1\n")
    with pytest.raises(DataError, match="line 1 is no count"):
        read_counts(folder)


def test_without_counts_every_sense_is_equal(folder: Path) -> None:
    (folder / "cntlist.rev").unlink()
    assert read_counts(folder) == {}
