import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.datasets.tag_files import TagFile, listed_tags, prompt_tags, read_json_tags, read_text_tags

PROMPT = "masterpiece, best quality, a dog"


def text_tags(text: str | bytes, **options: bool) -> tuple[str, ...]:
    found = read_text_tags(text if isinstance(text, bytes) else text.encode(), **options)
    return tuple(tag.strip() for tag in found.tags)


def json_tags(value: Any) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in read_json_tags(json.dumps(value).encode()).tags)


# --- label files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "0 0.512 0.433 0.2 0.31\n3 0.1 0.2 0.05 0.07\n",
        "0 0.512 0.433 0.2 0.31 0.98\r\n",
        "15 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8\n",  # a polygon
        "0,0.5,0.4,0.2,0.3\n",
        "0 1 1 1 1\n",
        "0\t0.5\t0.4\t0.2\t0.3",
        "dog 0.98 48 240 195 371\n",
        "Car 0.00 0 -1.57 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 13.22 34.38 -1.55\n",
        "10.0 20.0 30.0 20.0 30.0 40.0 10.0 40.0 plane 0\n",
        "0 1e-3 .5 5. -0.2",
    ],
)
def test_label_files_of_numbers_hold_no_tags(text: str) -> None:
    found = read_text_tags(text.encode())
    assert found.tags == ()
    assert found.caption is None
    assert "numbers" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("2019", ("2019",)),
        ("2019, 2020, 2021, 2022", ("2019", "2020", "2021", "2022")),
        ("dog, 2019\n7", ("dog", "2019", "7")),
        ("route 66, boeing 747", ("route 66", "boeing 747")),
    ],
)
def test_numbers_that_are_tags_stay(text: str, tags: tuple[str, ...]) -> None:
    assert text_tags(text) == tags


# --- generators ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [
        "\nNegative prompt: lowres, bad anatomy\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 12345\n",
        "\r\nNegative prompt: lowres\r\nSteps: 20, Sampler: Euler a",
        "\nSteps: 20, Sampler: Euler a, Seed: 1",
        "\nnegative_prompt: lowres, ugly\n",
        "\nNegative Prompt: a,\nb,\nc\nSteps: 1, Size: 512x512",
    ],
)
def test_a_generators_file_gives_the_prompt_only(rest: str) -> None:
    assert text_tags(PROMPT + rest) == ("masterpiece", "best quality", "a dog")
    assert [tag.strip() for tag in prompt_tags(PROMPT + rest) or []] == ["masterpiece", "best quality", "a dog"]


def test_steps_in_a_sentence_end_nothing() -> None:
    assert text_tags("steps, a dog\nnegative space") == ("steps", "a dog", "negative space")
    assert prompt_tags("dog, beach") is None


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("(masterpiece:1.2), dog", ("masterpiece", "dog")),
        ("((best quality)), [blurry], {sharp}", ("best quality", "blurry", "sharp")),
        ("(dog, beach:1.3), sea", ("dog", "beach", "sea")),
        ("((dog:1.1), (beach)), [sea:0.5]", ("dog", "beach", "sea")),
        ("<lora:style_v2:0.8>, dog <lora:other:1>", ("dog",)),
        (r"saber \(fate\), saber_(fate)", ("saber (fate)", "saber_(fate)")),
        (r"(saber \(fate\):1.2), dog", ("saber (fate)", "dog")),
        ("dog:0.95, beach: 0.8", ("dog", "beach")),
        ("dog BREAK, BREAK, AND, sea", ("dog BREAK", "sea")),
        ("ratio 16:9, 10:30", ("ratio 16:9", "10:30")),
        (":), (:", (":)", "(:")),
    ],
)
def test_weights_and_marks_of_prompts_are_taken_off(text: str, tags: tuple[str, ...]) -> None:
    assert text_tags(text) == tags


# --- booru lines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("1girl long_hair solo smile", ("1girl", "long_hair", "solo", "smile")),
        ("1girl solo smile", ("1girl", "solo", "smile")),
        ("solo looking_at_viewer saber_(fate) :d", ("solo", "looking_at_viewer", "saber_(fate)", ":d")),
        ("artist:someone dog beach", ("artist:someone", "dog", "beach")),
        (
            "red_eyes hat sea sky sand sun tree boat bird cloud hill\nblue_dress shoes",
            (
                *["red_eyes", "hat", "sea", "sky", "sand", "sun", "tree", "boat", "bird", "cloud", "hill"],
                "blue_dress",
                "shoes",
            ),
        ),
        ("sidecar tag", ("sidecar tag",)),
        ("dog park beach sea", ("dog park beach sea",)),
        ("a photo of my_dog at the beach", ("a photo of my_dog at the beach",)),
        ("long_hair, dog park", ("long_hair", "dog park")),
    ],
)
def test_spaces_separate_the_tags_of_a_booru_line_and_of_no_other(text: str, tags: tuple[str, ...]) -> None:
    assert text_tags(text) == tags
    assert tuple(tag.strip() for tag in listed_tags(text)) == tags


# --- lines, marks, encodings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"dog\r\nbeach\r\n",
        b"dog,beach\r\n",
        "\ufeffdog, beach".encode(),
        "dog, beach".encode("utf-16"),
        "dog, beach".encode("utf-16-le"),
        "dog, beach".encode("utf-16-be"),
        "dog\uff0cbeach".encode(),
        "dog\u3001beach".encode(),
        b"dog\rbeach",
        b"dog,,beach,\n\n,",
    ],
)
def test_line_ends_marks_and_encodings_of_a_list_do_not_matter(data: bytes) -> None:
    assert text_tags(data) == ("dog", "beach")


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman"])
@pytest.mark.parametrize("text", ["Café, Köln, Señor", "Straße, Bär", "façade, naïve", "Élysée"])
def test_western_text_of_either_old_system_is_read(text: str, encoding: str) -> None:
    assert text_tags(text.encode(encoding)) == tuple(text.split(", "))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("собака, пляж", "cp1251"), ("犬, 海辺", "cp932"), ("いぬ、うみ", "cp932"), ("狗, 海滩", "gb18030")],
)
def test_cyrillic_japanese_and_chinese_text_of_old_systems_is_read(text: str, encoding: str) -> None:
    assert text_tags(text.encode(encoding)) == tuple(text.replace("、", ", ").split(", "))


# --- captions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tags", "caption"),
    [
        ("a dog on a beach", (), "a dog on a beach"),
        ("dog, beach", ("dog", "beach"), None),
        ("dog", ("dog",), None),
        ("A dog.\nIt runs fast.", (), "A dog. It runs fast."),
        ("1girl long_hair", ("1girl", "long_hair"), None),
    ],
)
def test_a_caption_file_holds_a_caption_or_tags(text: str, tags: tuple[str, ...], caption: str | None) -> None:
    assert text_tags(text, is_caption=True) == tags
    assert read_text_tags(text.encode(), is_caption=True).caption == caption


# --- JSON ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ({"tags": {"general": ["dog", "beach"], "artist": ["someone"]}}, ("dog", "beach", "someone")),
        ({"tags": {"general": {"dog": 0.9, "beach": 0.4}, "rating": {"safe": 0.99}}}, ("dog", "beach")),
        ({"tags": {"general": "dog, beach", "character": ""}}, ("dog", "beach")),
        ({"tags": {"dog": 0.9, "beach": 0.4}}, ("dog", "beach")),
        ({"tags": {"dog": "0.9", "cat": None, "sea": False, "sky": True}}, ("dog", "sky")),
        ({"post": {"tags": {"general": ["dog"], "species": ["canine"]}}}, ("dog", "canine")),
        ({"tags": "1girl long_hair solo smile"}, ("1girl", "long_hair", "solo", "smile")),
        ({"tag_string": "dog beach", "tag_string_general": "dog"}, ("dog", "beach")),
        ({"tags_general": "dog beach", "tags_artist": "someone"}, ("dog", "beach", "someone")),
        ({"tags": "dog, beach"}, ("dog", "beach")),
        ({"keywords": ["dog", 2019]}, ("dog", "2019")),
        (["dog", 7, 2.5, -3], ("dog", "7", "2.5", "-3")),
        ({"tags": [{"tag": "dog", "score": 0.9}, {"name": 2019}, ["beach"]]}, ("dog", "2019", "beach")),
        ({"tags": ["dog, cat", "a b_c"]}, ("dog, cat", "a b_c")),
    ],
)
def test_json_gives_the_tags_of_every_common_form(value: Any, tags: tuple[str, ...]) -> None:
    assert json_tags(value) == tags


@pytest.mark.parametrize(
    "text",
    [
        '{"tags": ["dog", 1e999]}',
        '{"tags": ["dog", ' + "9" * 5000 + "]}",
        '{"tags": ["dog", NaN, Infinity]}',
        '{"tags": ["dog"], "photoTakenTime": {"timestamp": 1e999}}',
        '{"tags": ["dog"], "photoTakenTime": {"timestamp": "' + "9" * 400 + '"}}',
        '{"tags": ["dog"], "photoTakenTime": {"timestamp": -99999999999999}}',
        '{"tags": ["dog"], "geoData": {"latitude": 1e999, "longitude": ' + "9" * 400 + "}}",
        '{"tags": ' + "[" * 500 + '"dog"' + "]" * 500 + "}",
    ],
)
def test_numbers_out_of_range_and_deep_nesting_stop_nothing(text: str) -> None:
    assert isinstance(read_json_tags(text.encode()), TagFile)


def test_takeouts_time_is_read() -> None:
    assert read_json_tags(b'{"photoTakenTime": {"timestamp": "1600000000"}}').taken_at == "2020-09-13T12:26:40"
    assert read_json_tags(b'{"photoTakenTime": {"timestamp": "-86400"}}').taken_at == "1969-12-31T00:00:00"
    assert read_json_tags(b'{"photoTakenTime": {"timestamp": true}}').taken_at is None


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["tags", "tag", "x"]), inner),
    )
)
def test_any_json_is_read_or_noted(value: Any) -> None:
    found = read_json_tags(json.dumps(value).encode())
    assert all(isinstance(tag, str) for tag in found.tags)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_noted(data: bytes) -> None:
    assert isinstance(read_text_tags(data), TagFile)
    assert isinstance(read_json_tags(data), TagFile)


# --- other ways of writing a list ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "dog; beach",
        "- dog\n- beach\n",
        "* dog, beach",
        "1. dog\n2. beach\n",
        "#dog #beach",
        '"dog", "beach"',
        '["dog", "beach"]',
        "dog\t0.98\nbeach\t0.5\n",
        "dog 0.98\nbeach 0.5",
        "dog,0.98\nbeach,1.0\n",
        "dog: 98%, beach: 7.5 %",
        "dog, beach --ar 16:9 --v 5",
        "dog, beach Negative prompt: blurry, bad Steps: 20, Sampler: Euler",
        "dog, beach Steps: 20, Sampler: Euler",
        "dog, beach\0\0\0",
    ],
)
def test_scores_bullets_quotes_and_hashes_are_no_part_of_a_tag(text: str) -> None:
    assert text_tags(text) == ("dog", "beach")


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("1. dog", ("1. dog",)),
        ("#dog", ("#dog",)),
        ("f 0.95", ("f 0.95",)),
        ("1girl, ;)", ("1girl", ";)")),
        ("well-being, -5", ("well-being", "-5")),
        ("1girl solo rating:safe score:12 long_hair", ("1girl", "solo", "long_hair")),
        ("dog,2019,2020,2021,2022", ("dog", "2019", "2020", "2021", "2022")),
        ("2019,2020,2021,2022,Praha", ("2019", "2020", "2021", "2022", "Praha")),
    ],
)
def test_what_only_looks_like_such_a_mark_stays(text: str, tags: tuple[str, ...]) -> None:
    assert text_tags(text) == tags


@pytest.mark.parametrize(
    "text",
    [
        "traffic light 0.5 0.5 0.2 0.3\n",
        "38,43,920,215,exit\n",
        "377,117,463,117,465,130,378,130,Main Street\n",
        "imagesource:GoogleEarth\ngsd:0.146\n937.0 913.0 921.0 912.0 923.0 874.0 940.0 875.0 ship 0\n",
    ],
)
def test_boxes_with_names_are_no_tags(text: str) -> None:
    test_label_files_of_numbers_hold_no_tags(text)


@pytest.mark.parametrize("is_caption", [True, False])
@pytest.mark.parametrize(
    "text", ["A dog runs on the beach.", "A dog runs on the beach, chasing a ball that somebody threw."]
)
def test_a_sentence_is_a_caption(text: str, is_caption: bool) -> None:
    found = read_text_tags(text.encode(), is_caption=is_caption)
    assert (found.tags, found.caption) == ((), text)


@pytest.mark.parametrize(
    "text",
    [
        "\u0160\u00e1rka, \u0159eka, \u017elut\u00fd k\u016f\u0148",
        "\u0142\u00f3d\u017a, \u017c\u00f3\u0142w",
        "\u0151sz, f\u0171",
    ],
)
def test_central_european_text_of_windows_is_read(text: str) -> None:
    assert text_tags(text.encode("cp1250")) == tuple(text.split(", "))


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ({"general": ["1girl", "solo"], "artist": ["someone"], "rating": ["safe"]}, ("1girl", "solo", "someone")),
        ({"general": {"dog": 0.9}, "character": {}, "rating": {"safe": 0.9}}, ("dog",)),
        ([["dog", 0.9], ["beach", 1]], ("dog", "beach")),
        ({"Tags": ["dog"]}, ("dog",)),
        ({"keywords": "dog;beach"}, ("dog", "beach")),
        ({"prompt": "(dog:1.2), beach\nNegative prompt: bad", "steps": 20}, ("dog", "beach")),
        ({"prompt": "cat", "tags": ["dog"]}, ("dog",)),
        ({"general": "a text"}, ()),
    ],
)
def test_groups_scores_and_prompts_in_json_give_their_tags(value: Any, tags: tuple[str, ...]) -> None:
    assert json_tags(value) == tags
