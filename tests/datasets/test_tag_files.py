import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.datasets.json_tags import TagFile, read_json_tags
from annotator.datasets.tag_files import prompt_tags, read_text_tags
from annotator.datasets.tag_lists import listed_tags

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


# --- further forms of the same kinds -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "1,1,912,484,97,109,0,7,1\n2,1,912,484,97,109,0,7,1\n",  # MOT
        "684,8,273,116,0,0,0,0,\n",  # VisDrone
        "dog 48 240 195 371 difficult\nbook 439 157 556 241\n",
        "traffic light 48 240 195 371\n",
        "traffic light 0.98 48 240 195 371\n",
        "xmin,ymin,xmax,ymax,label\n48,240,195,371,dog\n",
        "class x_center y_center width height\n0 0.5 0.5 0.1 0.2\n",
        "# class x y w h\n0 0.5 0.5 0.1 0.1\n",
        "446.000 91.000\n449.000 459.000\n",  # landmarks
        "377,117,463,117,465,130,378,130,Main, Street\n",
        '"dog" 0.5 0.5 0.1 0.1\n',
        "0 5.0e-01 5.0e-01 1.0e-01 nan\n",
    ],
)
def test_tables_of_boxes_and_landmarks_are_no_tags(text: str) -> None:
    test_label_files_of_numbers_hold_no_tags(text)


@pytest.mark.parametrize("text", ["summer 2019 2020 2021 2022", "1, 2, 3", "2019 2020 2021 2022 2023 2024"])
def test_a_few_numbers_and_years_are_no_boxes(text: str) -> None:
    assert text_tags(text) == tuple(text.split(", "))


@pytest.mark.parametrize(
    "text",
    [
        "Prompt: dog, beach\nNegative prompt: bad\nSteps: 20, Sampler: x",
        "positive_prompt: dog, beach\nnegative_prompt: bad",
        "prompt: dog, beach\nseed: 1234\nnum_inference_steps: 25\n",
        "dog, beach\nSteps: 20\nSampler: Euler\n",
        "dog, beach\nWidth: 512\nHeight: 768\n",
        "dog, beach\nModel hash: abc, Model: other\n",
        "dog, beach\nSize: 512x512, Seed: 3\n",
        "dog, beach\nNegative: bad, ugly\n",
        "dog, beach\nNegative  prompt : bad\n".replace("  prompt :", " prompt:"),
        "parameters\ndog, beach\nNegative prompt: bad\nSteps: 20, Sampler: x",
        "/imagine prompt: dog, beach --ar 16:9",
        "dog, beach \u2014ar 16:9 \u2014v 6",
        "1.3::dog, beach::",
        "1.3::dog::, 0.7::beach::",
        "(dog)1.2, (beach)++",
        "embedding:EasyNegative, dog, (embedding:other.pt:1.2), beach",
        "\uff08dog\uff1a1.2\uff09, beach",
        "dog ||| beach",
        '{"prompt": "dog, beach", "negative_prompt": "bad"}',
    ],
)
def test_every_generators_text_gives_the_prompt_only(text: str) -> None:
    assert text_tags(text) == ("dog", "beach")


@pytest.mark.parametrize(
    "text",
    [
        "dog | beach",
        "dog\tbeach",
        "dog\u060c beach",
        "dog\uff64beach",
        "\u2022dog\n\u2022beach",
        "1. dog, 2. beach",
        "#dog\n#beach",
        "(0.998) dog\n(0.95) beach",
        "0.998 dog\n0.95 beach",
        "dog (0.98), beach (0.95)",
        "dog 98%\nbeach 95 %",
        "dog=0.98\nbeach=0.5",
        "'dog', 'beach'",
        "['dog', 'beach']",
        '{"tags": ["dog", "beach"]}',
        "Tags: dog, beach",
        "Keywords: dog; beach",
        "dog, beach, rating:safe",
        "dog, rating: explicit, beach",
    ],
)
def test_other_separators_scores_and_heads_are_no_part_of_a_tag(text: str) -> None:
    assert text_tags(text) == ("dog", "beach")


def test_a_name_before_a_tag_of_several_words_separates_nothing_where_each_line_is_one_tag() -> None:
    lines = ("creator:some one", "series:fate stay night", "long hair", "blue_eyes")
    assert text_tags("\n".join(lines)) == lines
    assert text_tags("artist:someone dog beach") == ("artist:someone", "dog", "beach")


def test_faces_of_image_boards_do_not_hide_the_spaces_between_tags() -> None:
    assert text_tags("1girl :d ;) ^_^ blush") == ("1girl", ":d", ";)", "^_^", "blush")


def test_hashtags_of_a_sentence_are_tags_and_the_sentence_a_caption() -> None:
    text = "We watched the sunset at the sea with all our friends. #dog #beach"
    assert text_tags(text) == ("dog", "beach")
    assert read_text_tags(text.encode()).caption == text


def test_a_caption_file_that_begins_with_an_article_is_a_caption_with_commas_too() -> None:
    assert read_text_tags(b"a dog and a beach, at sunset", is_caption=True).caption == "a dog and a beach, at sunset"
    assert text_tags("dog, beach, at sunset", is_caption=True) == ("dog", "beach", "at sunset")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("\u0441\u043e\u0431\u0430\u043a\u0430, \u043f\u043b\u044f\u0436, \u043c\u043e\u0440\u0435", "koi8_r"),
        ("\u041c\u041e\u0421\u041a\u0412\u0410, \u0437\u0438\u043c\u0430", "cp1251"),
        ("\u03c3\u03ba\u03cd\u03bb\u03bf\u03c2, \u03c0\u03b1\u03c1\u03b1\u03bb\u03af\u03b1", "cp1253"),
        ("k\u00f6pek, g\u00fcne\u015f, a\u011fa\u00e7, k\u0131z", "cp1254"),
        ("\u0142\u0105ka, \u015bnieg", "iso8859_2"),
        ("ni\u00f1o, ca\u00f1\u00f3n, \u00a1hola!", "cp1252"),
        ("\u72ac, \u5915\u713c\u3051, \u30ab\u30e1\u30e9", "euc_jp"),
        ("\u72d7, \u6d77\u7058, \u65e5\u843d", "big5"),
        ("dog, beach", "utf-32"),
    ],
)
def test_greek_turkish_and_further_old_encodings_are_read(text: str, encoding: str) -> None:
    assert text_tags(text.encode(encoding)) == tuple(text.split(", "))


def test_a_few_damaged_bytes_leave_the_rest_of_utf_8_as_it_is() -> None:
    assert text_tags("Caf\u00e9, K\u00f6ln, \u0160\u00e1rka".encode() + b", s\xffea") == (
        *("Caf\u00e9", "K\u00f6ln", "\u0160\u00e1rka"),
        "sea",
    )


GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["6", 0], "negative": ["7", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "dog, beach", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad, ugly"}},
}


@pytest.mark.parametrize(
    "value",
    [
        {"general": ["dog", "beach"], "rating": "safe"},
        {"tags": {"general": ["dog", "beach"], "rating": "s"}},
        {"posts": [{"id": 1, "tags": {"general": ["dog", "beach"], "artist": []}}]},
        {"@attributes": {"limit": 1}, "post": [{"id": 1, "md5": "0", "tags": "dog beach"}]},
        [{"id": 1, "md5": "0", "tags": "dog beach"}],
        [{"tag_string": "dog beach", "tag_string_general": "dog"}],
        [{"SourceFile": "a.jpg", "Keywords": ["dog", "beach"], "ImageWidth": 8}],
        [{"SourceFile": "a.jpg", "IPTC:Keywords": "dog", "XMP:Subject": ["dog", "beach"]}],
        [{"SourceFile": "a.jpg", "XMP:TagsList": ["animal/dog", "beach"]}],
        GRAPH,
        {"prompt": GRAPH},
        {"positive_prompt": "dog, beach", "negative_prompt": "bad"},
        {"sui_image_params": {"prompt": "dog, beach", "negativeprompt": "bad"}},
        {"meta": {"prompt": "dog, beach", "negativePrompt": "bad"}},
        {"parameters": "dog, beach\nNegative prompt: bad\nSteps: 20, Sampler: x"},
        {"c": "dog, beach", "uc": "bad"},
        {"prompt": ["dog", "beach"]},
        {"labels": ["dog", "beach"]},
        {"Labels": [{"Name": "dog", "Confidence": 99.1}, {"Name": "beach"}]},
        {"result": {"tags": [{"confidence": 61.4, "tag": {"en": "dog"}}, {"tag": {"en": "beach"}}]}},
        {"tags": [{"value": "dog"}, {"text": "beach"}]},
        {"tags": {"dog": {"score": 0.9}, "beach": {"confidence": 0.8}}},
        {"tags": {"dog": "98%", "beach": "50 %", "cat": 0}},
    ],
)
def test_json_of_boards_generators_taggers_and_exiftool_gives_the_tags(value: Any) -> None:
    assert tuple(dict.fromkeys(json_tags(value))) == ("dog", "beach")


def test_a_graph_without_a_positive_prompt_gives_no_tags() -> None:
    loop = {"1": {"class_type": "x", "inputs": {"positive": ["2", 0]}}, "2": {"inputs": {"text": ["2", 0]}}}
    assert json_tags(loop) == ()
    assert json_tags({"7": GRAPH["7"]}) == ()


def test_numbers_as_tags_keep_their_digits() -> None:
    assert json_tags([1234567.5, 12345678901, 2019.0]) == ("1234567.5", "12345678901", "2019")


def test_takeouts_place_of_the_file_counts_where_no_person_gave_one() -> None:
    of_file = {"latitude": 50.1, "longitude": 14.4}
    for own in ({"latitude": 0.0, "longitude": 0.0}, None):
        value = {"geoData": own, "geoDataExif": of_file}
        assert read_json_tags(json.dumps(value).encode()).place == (50.1, 14.4)
    value = {"geoData": {"latitude": 1, "longitude": 2}, "geoDataExif": of_file}
    assert read_json_tags(json.dumps(value).encode()).place == (1, 2)


def test_a_text_of_other_captions_is_one() -> None:
    assert read_json_tags(b'{"captions": ["A dog.", "A beach."]}').caption == "A dog."
    assert read_json_tags(b'{"text": "A dog on the beach."}').caption == "A dog on the beach."
