"""The texts of the page: each language has those of English, every text is used, and no module shows another one."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from annotator.errors import AnnotatorError
from annotator.ui.page import ASSETS_PATH
from annotator.web.request_guard import FAILED

Texts = dict[str, str | dict[str, str]]

LANGUAGES_PATH = ASSETS_PATH / "languages"
CODES = sorted(path.stem for path in LANGUAGES_PATH.glob("*.js"))
MODULES = {path.name: path.read_text(encoding="utf-8") for path in sorted(ASSETS_PATH.glob("*.js"))}
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(ASSETS_PATH.glob("*.html"))}

TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<regex>(?:(?<=[=(,:])|(?<=return))\s*/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*)
    |(?P<literal>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<template>`(?:\\.|[^`\\])*`)
    """,
    re.VERBOSE | re.DOTALL,
)
CALL = re.compile(r"\b(phraseNodes|pluralNodes|phrase|plural)\(")
PLACE = re.compile(r"\{(\w+)\}")


def load(code: str) -> Texts:
    """The texts of a language: the file is JSON but for its comment, ``export default`` and the last comma."""
    source = (LANGUAGES_PATH / f"{code}.js").read_text(encoding="utf-8")
    comment, found, body = source.partition("export default ")
    assert found
    assert all(line.startswith("//") or not line for line in comment.split("\n"))
    texts: Texts = json.loads(re.sub(r",\n\};\s*$", "\n}", body), object_pairs_hook=without_repeats)
    return texts


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key stands twice"
    return dict(pairs)


ENGLISH = load("en")


def forms(text: str | dict[str, str]) -> dict[str, str]:
    return {"": text} if isinstance(text, str) else text


def places(text: str) -> set[str]:
    return set(PLACE.findall(text))


def tokens(source: str) -> Iterator[re.Match[str]]:
    return (match for match in TOKEN.finditer(source) if match.lastgroup in {"literal", "template"})


def literals(source: str) -> list[str]:
    """The string literals of a module, and the texts of its templates between their values."""
    found: list[str] = []
    for match in tokens(source):
        inner = match[0][1:-1]
        if match.lastgroup == "literal":
            found.append(inner)
            continue
        found += re.split(r"\$\{.*?\}", inner)
        for value in re.findall(r"\$\{(.*?)\}", inner, re.DOTALL):
            found += literals(value)
    return found


def calls(source: str) -> Iterator[tuple[str, list[str]]]:
    """The calls of texts.js: the function, and its arguments as they are written."""
    for match in CALL.finditer(source):
        if "function " in source[max(0, match.start() - 10) : match.start()]:
            continue
        yield match[1], arguments(source, match.end())


def arguments(source: str, start: int) -> list[str]:
    parts, depth, at, begin = [], 0, start, start
    while True:
        if source[at] in "\"'`":
            at = next(match for match in TOKEN.finditer(source, at) if match.start() == at).end()
            continue
        if source[at] in ")]}" and depth == 0:
            return [*parts, source[begin:at].strip()]
        depth += (source[at] in "([{") - (source[at] in ")]}")
        if source[at] == "," and depth == 0:
            parts.append(source[begin:at].strip())
            begin = at + 1
        at += 1


def names_of(written: str) -> set[str] | None:
    """The names in an object literal; None where they are not all written there."""
    if not written.startswith("{"):
        return None
    names = set()
    for part in arguments(written, 1):
        if part.startswith("..."):
            return None
        if part:
            names.add(re.match(r"\w+", part)[0])  # type: ignore[index]
    return names


KEY = re.compile(r"[a-z_]+(\.\w+)+")
GROUPS = {key.split(".")[0] for key in ENGLISH}


def named_keys() -> dict[str, set[str]]:
    """Key -> the files in which it is written out."""
    found: dict[str, set[str]] = {}
    for name, source in MODULES.items():
        for literal in literals(source):
            if KEY.fullmatch(literal) and literal.split(".")[0] in GROUPS and not literal.endswith((".js", ".css")):
                found.setdefault(literal, set()).add(name)
    for name, source in PAGES.items():
        for key in re.findall(r'data-(?:text|label|placeholder)="([^"]*)"', source):
            found.setdefault(key, set()).add(name)
    return found


def composed_keys() -> list[re.Pattern[str]]:
    """The keys that are composed of a part that is written and one that is not, as patterns."""
    found = []
    for source in MODULES.values():
        for _, (key, *_rest) in calls(source):
            for template in re.findall(r"`[^`]*`", key):
                fixed = [re.escape(part) for part in re.split(r"\$\{.*?\}", template[1:-1])]
                found.append(re.compile(r"[\w.]+".join(fixed)))
    return found


def test_the_languages_that_can_be_chosen_are_the_files() -> None:
    offered = re.search(r"const OFFERED = (\[.*?\]);", MODULES["language.js"])
    assert offered is not None
    assert sorted(json.loads(offered[1])) == CODES
    assert {"en", "de", "es", "zh"} <= set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_language_has_the_texts_of_english(code: str) -> None:
    texts = load(code)
    assert {"missing": set(ENGLISH) - set(texts), "unused": set(texts) - set(ENGLISH)} == {
        "missing": set(),
        "unused": set(),
    }
    assert [key for key in ENGLISH if isinstance(ENGLISH[key], str) != isinstance(texts[key], str)] == []
    assert [key for key in texts if not all(form.strip() for form in forms(texts[key]).values())] == []


@pytest.mark.parametrize("code", CODES)
def test_a_text_has_the_places_of_the_english_one_in_every_form(code: str) -> None:
    texts = load(code)
    wrong = {}
    for key, english in ENGLISH.items():
        wanted = set().union(*map(places, forms(english).values()))
        for category, form in forms(texts[key]).items():
            # A form for one number only may write that number as a word.
            left_out = {"num"} if category in {"zero", "one", "two"} else set()
            if not wanted - left_out <= places(form) <= wanted:
                wrong[f"{key} {category}".strip()] = sorted(wanted ^ places(form))
    assert wrong == {}


@pytest.mark.parametrize("code", CODES)
def test_a_text_for_a_number_has_the_form_of_all_other_numbers(code: str) -> None:
    categories = {"zero", "one", "two", "few", "many", "other"}
    for key, text in load(code).items():
        if not isinstance(text, str):
            assert "other" in text, key
            assert set(text) <= categories, key


def test_every_text_is_used_and_every_used_text_exists() -> None:
    named, composed = named_keys(), composed_keys()
    assert {key: files for key, files in named.items() if key not in ENGLISH} == {}
    assert [key for key in ENGLISH if key not in named and not any(p.fullmatch(key) for p in composed)] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_gives_a_text_the_values_of_its_places(name: str) -> None:
    wrong = []
    for function, (key, *given) in calls(MODULES[name]):
        for written in re.findall(r'"([a-z_]+(?:\.\w+)+)"', key):
            text = ENGLISH.get(written)
            if text is None:
                continue
            is_plural = function.startswith("plural")
            if isinstance(text, str) == is_plural:
                wrong.append(f"{written} is {'no text' if is_plural else 'a text'} for a number")
                continue
            values = given[1:] if is_plural else given
            names = names_of(values[0]) if values else set()
            wanted = set().union(*map(places, forms(text).values())) - ({"num"} if is_plural else set())
            if names is not None and not wanted <= names:
                wrong.append(f"{written} needs {sorted(wanted - names)}")
    assert wrong == []


UNTRANSLATED = {
    "Enter", "Escape", "Delete", "Backspace", "Space", "Tab", "Home", "End", "Ctrl", "Alt", "Shift", "Meta",
    "Dead", "Fn", "Files", "JSON Lines", "CSV", "NDCG", "RBO", "ImageNet",
    "cat OR dog", "-cat, NOT cat", "cat garden", "tag:cat, -tag:cat", "X-Annotator-Token", "tau", "text", "placeholder",
}  # fmt: skip
"""Names of keys, formats, measures and forms of searches: the same in every language."""
KEY_NAME = re.compile(
    r"((Ctrl|Alt|Shift)\+)*"
    r"(\w?|F\d+|Arrow\w*|Page\w+|\w+Lock|AltGraph|Control|Enter|Delete|Escape|Space|Tab)"
)
SHOWN = re.compile(
    r'(?:textContent = |title: |placeholder: |label: |"aria-label": |aria-label", |\}, |\bsay\(|speak\()'
    r'"([^"]*[a-z]{2}[^"]*)"'
)


def is_sentence(literal: str) -> bool:
    """Whether a literal looks like a text: two words with a capital, or a sentence."""
    words = re.findall(r"[A-Za-z]{2,}", literal)
    is_english = re.match(r"[A-Z][a-z]+", literal) or re.search(r" \S*[a-z]{2}[.?!…]$|[a-z]{2}[,:;] [a-z]", literal)
    return bool(is_english) and bool(words) and literal not in UNTRANSLATED and not KEY_NAME.fullmatch(literal)


def without_console(source: str) -> str:
    """The module without selectors, and what goes to the console or to a developer, as the errors of texts.js."""
    source = re.sub(r"console\.\w+\([^\n]*|throw new Error\([^\n]*", "", source)
    return re.sub(r"(closest|querySelector|querySelectorAll|matchMedia)(\?\.)?\((\"[^\"]*\"|'[^']*')\)", "", source)


@pytest.mark.parametrize("name", MODULES)
def test_no_module_shows_a_text_that_is_not_in_the_languages(name: str) -> None:
    source = without_console(MODULES[name])
    assert [literal for literal in literals(source) if is_sentence(literal)] == []
    shown = [literal for literal in SHOWN.findall(source) if literal not in UNTRANSLATED and not KEY.fullmatch(literal)]
    assert [literal for literal in shown if not re.fullmatch(r"[a-z]+([-_][a-z]+)+", literal)] == []


@pytest.mark.parametrize("name", PAGES)
def test_the_html_has_no_text_of_its_own(name: str) -> None:
    body = re.sub(r"<(noscript|title)>.*?</\1>", "", PAGES[name], flags=re.DOTALL)  # shown without scripts
    texts = [text.strip() for text in re.findall(r">([^<]+)<", body)]
    assert [text for text in texts if re.search(r"[A-Za-z]{2}", text) and text != "annotator"] == []
    assert re.findall(r'(?<!data-)(?:aria-label|title|placeholder)="[^"]*"', body) == []


def test_an_untranslated_text_is_found() -> None:
    assert is_sentence("Nothing is kept.")
    assert is_sentence("Save")
    assert not is_sentence("dialog wide")
    assert not is_sentence("Ctrl+ArrowRight")
    assert literals('make("p", {}, `Saved ${tags.join(", ")}.`)') == ["p", "Saved ", ".", ", "]


def test_sentences_of_the_server_are_put_into_each_language_by_kinds_that_the_server_has() -> None:
    table = MODULES["problems.js"].partition("const TEXTS = {")[2].partition("};")[0]
    kinds = set(re.findall(r"^  (\w+): ", table, re.MULTILINE))
    errors = [AnnotatorError, *AnnotatorError.__subclasses__()]
    assert kinds <= {error.kind for error in errors} | {FAILED, "refused"}
    assert {"stale", "leased", "forbidden", "store", "login"} <= kinds
    keys = [f"problem.{kind}" for kind in {*kinds, "full"}]
    assert sorted(key for key in ENGLISH if key.startswith("problem.")) == sorted(keys)
    for code in CODES:
        texts = load(code)
        assert {key: texts[key] for key in keys if (texts[key] == "{detail}") != (code == "en")} == {}
