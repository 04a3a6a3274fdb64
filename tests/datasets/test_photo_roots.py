from pathlib import Path

import pytest

from annotator.datasets.photo_roots import PhotoUrl, is_url, known_root, typed_root
from annotator.errors import ConfigError


def test_a_url_and_a_path_are_told_apart_and_stay_what_they_are(tmp_path: Path) -> None:
    assert (is_url("s3://bucket/a"), is_url("/a//b"), is_url("C:/photos"), is_url("a: b")) == (
        True,
        False,
        False,
        False,
    )
    for root in (PhotoUrl("s3://bucket/a b"), tmp_path):
        assert known_root(str(root)) == root
    assert typed_root("s3://bucket/holiday/") == PhotoUrl("s3://bucket/holiday")
    assert typed_root(f"{tmp_path}/../{tmp_path.name}") == tmp_path.resolve()


def test_an_archive_on_this_disk_has_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(typed_root("zip://holiday.zip")) == f"zip://{tmp_path.resolve()}/holiday.zip"


@pytest.mark.parametrize(
    "text",
    [
        "https://anna:secret@host/photos", "https://host/list.txt?signature=secret", "https://host/#a", "s3://",
        "zip://::s3://bucket/a.zip", "file:///etc", "reference://x", "javascript://x",
    ],
)  # fmt: skip
def test_what_would_keep_a_secret_or_opens_something_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        typed_root(text)
    assert "secret" not in str(caught.value)
