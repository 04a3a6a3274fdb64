from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator.datasets import vocabulary_file
from annotator.datasets.tags import clean_tag, tag_key
from annotator.datasets.vocabulary_file import VocabularyTag, read_vocabulary
from annotator.errors import DataError


def write(folder: Path, text: str | bytes, name: str = "tags.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_text_file_has_one_tag_a_line(tmp_path: Path) -> None:
    path = write(
        tmp_path, "\ufeff# dishes\nSpaghetti carbonara\n\n  ramen, with egg \r\nRAMEN, with egg\n\u5bff\u53f8\n"
    )
    assert [item.tag for item in read_vocabulary(path)] == ["Spaghetti carbonara", "ramen, with egg", "\u5bff\u53f8"]


def test_a_csv_file_has_aliases_after_the_tag(tmp_path: Path) -> None:
    text = 'tag,alias,alias\r\n"aubergine, fried",eggplant,\r\nchips,French fries,fries\r\nChips,frites\r\nfries\r\n'
    assert read_vocabulary(write(tmp_path, text, "food.CSV")) == [
        VocabularyTag("aubergine, fried", ("eggplant",)),
        VocabularyTag("chips", ("French fries", "frites")),  # fries is a tag of its own
        VocabularyTag("fries"),
    ]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("", "a.txt", "holds no tag"),
        ("# only\n\n", "a.txt", "holds no tag"),
        ("x" * 101, "a.txt", "line 1: .* at most 100"),
        ("ok\nbad\x00tag", "a.txt", r"line 2: .* control character"),
        (b"caf\xe9", "a.txt", "is not UTF-8"),
        ("a,x\nb,X\n", "a.csv", "gives the alias 'X' to 'a' and to 'b'"),
        ("tag\n", "a.csv", "holds no tag"),
        ("a," + ",".join(f"x{n}" for n in range(99)), "a.csv", "more than 50 aliases"),
    ],
)
def test_what_is_no_vocabulary_is_said(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_vocabulary(write(tmp_path, text, name))


def test_missing_and_huge_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_vocabulary(tmp_path / "none.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_vocabulary(tmp_path)
    monkeypatch.setattr(vocabulary_file, "MAX_TAGS", 2)
    with pytest.raises(DataError, match="more than 2 tags"):
        read_vocabulary(write(tmp_path, "a\nb\nc\n"))
    monkeypatch.setattr(vocabulary_file, "MAX_FILE_BYTES", 3)
    with pytest.raises(DataError, match="at most 3"):
        read_vocabulary(tmp_path / "tags.txt")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["a.txt", "a.csv"]))
def test_any_file_is_read_or_refused(tmp_path: Path, content: bytes, name: str) -> None:
    try:
        found = read_vocabulary(write(tmp_path, content, name))
    except DataError:
        return
    keys = [tag_key(item.tag) for item in found]
    assert len(set(keys)) == len(keys)
    for item in found:
        assert clean_tag(item.tag) == item.tag
        assert not {tag_key(alias) for alias in item.aliases} & {*keys}
