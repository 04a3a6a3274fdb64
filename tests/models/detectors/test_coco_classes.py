from annotator.datasets.tags import clean_tag, tag_key
from annotator.models.detectors import coco_classes
from annotator.models.detectors.coco_classes import COCO_CLASSES, classes_of, plain_word


def test_there_are_80_classes_in_the_order_of_detectors() -> None:
    assert len(set(COCO_CLASSES)) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[15], COCO_CLASSES[62], COCO_CLASSES[79]) == (
        "person",
        "cat",
        "tv",
        "toothbrush",
    )


def test_a_class_is_proposed_under_the_word_people_use() -> None:
    assert [plain_word(label) for label in ("tv", "dining table", "cat")] == ["television", "table", "cat"]


def test_people_words_have_the_boxes_of_a_person() -> None:
    assert classes_of("Man") == classes_of("woman") == classes_of("person") == {"person"}
    assert classes_of("ball") == {"sports ball"}
    assert classes_of("bike") == {"bicycle", "motorcycle"}
    assert classes_of("beach") == frozenset()


def test_every_word_is_a_tag_that_finds_its_class() -> None:
    for label in COCO_CLASSES:
        assert label in classes_of(plain_word(label))
    for label, words in coco_classes._OTHER_WORDS.items():
        assert label in COCO_CLASSES
        for word in words.split(", "):
            assert word == clean_tag(word) == tag_key(word)
            assert label in classes_of(word)
    assert set(coco_classes._PLAIN_WORDS) <= set(COCO_CLASSES)
