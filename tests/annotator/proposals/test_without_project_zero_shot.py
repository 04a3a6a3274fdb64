"""The zero-shot tagger from the command line: trained on a few photos, it gives the origin of each tag."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from annotator.cli.main import main
from annotator.models.backbones.backbone import Backbone
from annotator.models.detectors.detector import Detection
from annotator.proposals import without_project as suggest_module
from annotator.proposals.evidence import Evidence
from annotator.proposals.fusion import merge
from annotator.proposals.sources.detector import detector_labels
from annotator.proposals.without_project import _to_json

VECTORS = {"cat": (1, 0, 0), "kitten": (0.95, 0.1, 0), "rocket": (0, 1, 0), "missile": (0.1, 0.95, 0), "cup": (0, 0, 1)}
BOX = (0.1, 0.1, 0.9, 0.9)


@pytest.fixture
def tagger(write_photos: Callable[..., list[Path]], tmp_path: Path, backbone: Backbone) -> Path:
    photos = write_photos(tmp_path / "data", range(16))
    tags = [["cat"], ["rocket", "cup"]]
    lines = [json.dumps({"image": path.name, "tags": tags[row % 2]}) for row, path in enumerate(photos)]
    (tmp_path / "data" / "records.jsonl").write_text("\n".join(lines))
    rows = [f"{word} {' '.join(map(str, vector))}" for word, vector in VECTORS.items()]
    (tmp_path / "vectors.txt").write_text(f"{len(rows)} 3\n" + "\n".join(rows) + "\n")
    out = tmp_path / "tagger"
    code = main(
        ["train", "--tagger", "zero_shot", "--data", str(tmp_path / "data"), "--out", str(out), "--epochs", "2",
         "--threads", "1", "--set", f"word_vectors={tmp_path / 'vectors.txt'}",
         "--set", 'words=["kitten", "missile"]']
    )  # fmt: skip
    assert code == 0
    return out


class FakeDetector(SimpleNamespace):
    image_size = 64

    def detect(self, images: list[Any]) -> list[list[Detection]]:
        found = [Detection("tv", 0.7, BOX), Detection("tv", 0.5, BOX), Detection("bench", 0.6, BOX)]
        return [found for _ in images]


def test_suggest_gives_the_origin_of_each_tag_own_similar_word_or_detector(
    tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suggest_module, "load_detector", lambda name: FakeDetector())
    capsys.readouterr()
    photos = [str(tmp_path / "data" / f"photo {number}.jpg") for number in range(2)]
    assert main(["suggest", *photos, "--tagger", str(tagger), "--num", "50", "--json"]) == 0
    lists = [result["tags"] for result in json.loads(capsys.readouterr().out)]
    assert all(
        ("from" in item) or item["tag"] not in (*VECTORS, "television", "bench") for tags in lists for item in tags
    )
    origins = {item["tag"]: (item.get("from"), item.get("of")) for tags in lists for item in tags}
    assert {tag: origins[tag] for tag in (*VECTORS, "television", "bench")} == {
        "cat": ("tagger_net", None),
        "kitten": ("words", "cat"),
        "rocket": ("tagger_net", None),
        "missile": ("words", "rocket"),
        "cup": ("tagger_net", None),
        "television": ("detector", None),
        "bench": ("detector", None),
    }

    assert main(["suggest", *photos, "--tagger", str(tagger), "--num", "50"]) == 0
    ends = {" ".join(line.split()[1:]) for line in capsys.readouterr().out.splitlines()}
    assert {"cat looks, own tag", "kitten looks, near cat", "missile looks, near rocket"} <= ends
    assert {"cup looks, own tag", "bench looks, detector", "television looks, detector"} <= ends


def test_without_an_installed_detector_suggest_goes_on_and_says_how_to_get_one(
    tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    capsys.readouterr()
    photo = str(next((tmp_path / "data").glob("*.jpg")))
    assert main(["suggest", photo, "--tagger", str(tagger), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert "tagger_net" in {item.get("from") for item in result["tags"]}
    assert "detector" not in {item.get("from") for item in result["tags"]}
    assert "zero_shot goes without a detector's labels" in caplog.text
    assert "annotator detector install" in caplog.text


def test_the_origin_is_given_for_the_strongest_source_only() -> None:
    own = Evidence("car", "looks", 0.4, "seen", origin="tagger_net")
    assert [_to_json(item) for item in merge([own], {"car": 0.4})] == [
        {"tag": "car", "score": 0.4, "source": "looks", "from": "tagger_net"}
    ]
    (joined,) = merge([own, Evidence("cars", "words", 0.5, "near in meaning")], {"car": 0.4, "cars": 0.7})
    assert _to_json(joined) == {"tag": "cars", "score": 0.7, "source": "words"}


def test_a_taggers_labels_are_plain_words_once_each_with_their_chances_the_likeliest_first() -> None:
    labels = detector_labels(FakeDetector().detect([None])[0])
    assert [word for word, _ in labels] == ["television", "bench"]
    assert labels[0][1] == detector_labels([Detection("tv", 0.7, BOX)])[0][1]
    assert all(0 < chance < 1 for _, chance in labels)
