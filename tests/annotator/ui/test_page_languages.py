"""The page in other languages: which one is shown, its numbers and plural forms, its layout, text from the right."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from annotator.ui.page import ASSETS_PATH

Factory = Callable[..., Any]
ORIGIN = "http://texts.test"
CODES = sorted(path.stem for path in (ASSETS_PATH / "languages").glob("*.js"))
COFFEE = "\u0642\u0647\u0648\u0629"
"""The word in Arabic."""
LAPTOP = {"width": 1280, "height": 720}
SIZES: dict[str, dict[str, Any]] = {
    "laptop": {"viewport": LAPTOP},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
    "zoom": {"viewport": {"width": 640, "height": 360}, "device_scale_factor": 2},
}
POLISH = """export default {
  "list.separator": ", ",
  "count.photos": { one: "{num} zdjęcie", few: "{num} zdjęcia", many: "{num} zdjęć", other: "{num} zdjęcia" },
};"""
# Elements that stick out of the window or of the bar that they are in, and buttons whose text is cut off.
MISFITS = """
() => {
  const found = [];
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const nameOf = (element) => element.id || element.className || element.localName;
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) found.push("the page scrolls sideways");
  for (const element of document.querySelectorAll(".annotator :is(button, input, select, h1, h2, p, .pill, .hint)")) {
    const box = element.getBoundingClientRect();
    const scrolls = element.closest(".strip, .source-bar, .neighbour-list, .tabs, .kept-zone, .add-box, .project-list");
    if (!seen(element) || !box.width || scrolls || element.closest(".skip-link")) continue;
    if (box.left < -1 || box.right > page.clientWidth + 1) found.push(`${nameOf(element)} is outside of the window`);
  }
  for (const element of document.querySelectorAll(".header > *, .actions > *, .browse-bar > *, .dialog-buttons > *")) {
    if (!seen(element)) continue;
    const [box, frame] = [element.getBoundingClientRect(), element.parentElement.getBoundingClientRect()];
    const out = [frame.left - box.left, box.right - frame.right].map(Math.round);
    if (Math.max(...out) > 1) found.push(`${nameOf(element)} sticks out by ${out}`);
  }
  for (const element of document.querySelectorAll("button, .tab, .pill, .save-label")) {
    const { scrollWidth, clientWidth } = element;
    const cuts = element.matches(".chip, .take, .facet, .project-item, .strip-photo, .tags-photo, .sr-only");
    if (seen(element) && !cuts && scrollWidth > clientWidth + 1 && getComputedStyle(element).display !== "inline")
      found.push(`${nameOf(element)} is cut off`);
  }
  return found;
}
"""


def pseudo() -> str:
    """A language that is written from the right: the English texts, longer, with an Arabic letter at both ends."""
    source = (ASSETS_PATH / "languages" / "en.js").read_text(encoding="utf-8")
    texts = json.loads(re.sub(r",\n\};\s*$", "\n}", source.partition("export default ")[2]))
    mark = lambda text: f"\u0627{text}\u0627"  # noqa: E731
    marked = {
        key: text
        if key.startswith(("key.", "list.separator"))
        else mark(text)
        if isinstance(text, str)
        else {category: mark(form) for category, form in text.items()}
        for key, text in texts.items()
    }
    return f"export default {json.dumps(marked)};"


def offer(page: Any, code: str, texts: str) -> None:
    """Offer one more language on the server's pages."""

    def add(route: Route) -> None:
        answer = route.fetch()
        # Gradio has the script in a string of its own, in which quotes have backslashes.
        body = re.sub(r'OFFERED = \[(\\?")', rf"OFFERED = [\g<1>{code}\g<1>, \g<1>", answer.text())
        route.fulfill(response=answer, body=body)

    page.page.route(re.compile(r"/(\?.*)?$"), add)
    page.page.route(
        f"**/ui/languages/{code}.js", lambda route: route.fulfill(content_type="text/javascript", body=texts)
    )


@pytest.fixture
def open_from_the_right(serve: Factory, open_page: Factory) -> Iterator[Callable[..., Any]]:
    opened = []

    def open_(server: Any = None, **options: Any) -> Any:
        server = server or serve()
        page = open_page(server, locale="ar-EG-u-nu-latn", **options)
        opened.append(page.page)
        offer(page, "ar", pseudo())
        page.reload()
        return page

    yield open_
    for page in opened:
        # The page may be asked for once more while it is closed; what its handler fetches is gone then.
        page.unroute_all(behavior="ignoreErrors")


@pytest.fixture
def texts_page(chromium: Browser) -> Iterator[Page]:
    """A page with the modules of the source tree, and Polish."""

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(f"{ORIGIN}/")
        if name == "languages/pl.js":
            route.fulfill(content_type="text/javascript", body=POLISH)
        elif name:
            route.fulfill(content_type="text/javascript", body=(ASSETS_PATH / name).read_text(encoding="utf-8"))
        else:
            route.fulfill(content_type="text/html", body="<!doctype html>")

    page = chromium.new_page()
    page.route("**/*", answer)
    yield page
    page.close()


def in_language(page: Page, language: str, locale: str, run: str) -> Any:
    """Load the modules in a language, and run an expression over them (``texts`` and ``formats``)."""
    page.goto(ORIGIN)
    about = {"language": language, "locale": locale, "offered": [language], "isRightToLeft": language == "ar"}
    return page.evaluate(
        f"""async () => {{
          globalThis.annotatorLanguage = {json.dumps(about)};
          const texts = await import("/texts.js");
          const formats = await import("/formats.js");
          return {run};
        }}"""
    )


def language_of(page: Any) -> tuple[str, str]:
    root = page.at("html")
    return root.get_attribute("lang"), root.get_attribute("dir")


def test_a_browser_in_german_shows_the_page_in_german(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve(), locale="de-AT")
    assert language_of(page) == ("de", "ltr")
    expect(page.at("#tagged")).to_have_text("0 von 12 verschlagwortet")
    expect(page.at("#add-input")).to_have_attribute("placeholder", "Schlagwort hinzufügen")
    expect(page.at("#kept-list")).to_have_attribute("aria-label", "Behalten, wichtigste zuerst")
    page.press("1", "Enter")
    page.see_status("gespeichert.")
    page.press("Control+e")
    expect(page.at("#export-dialog-title")).to_have_text("Exportieren")
    files = {url.rsplit("/", 1)[1] for url in page.requests if "/ui/languages/" in url}
    assert files == {"de.js"}


def test_a_refusal_of_the_server_is_a_sentence_in_the_language_of_the_page(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve(), locale="de")
    english = "anna has this photo open. Nothing was changed; try again when they are done."
    refusals = iter(
        [
            ({"kind": "leased", "message": english}, "Jemand anderes hat dieses Foto offen; nichts wurde geändert."),
            ({"kind": "store", "message": english, "is_full": True}, "Der Datenträger ist voll;"),
        ]
    )
    error, sentence = next(refusals)

    def answer(route: Route) -> None:
        is_save = (route.request.post_data_json or {}).get("fn_name") == "save"
        route.fulfill(json={"error": error}) if is_save else route.continue_()

    page.page.route(re.compile("component_server"), answer)
    page.press("1", "Enter")
    expect(page.page.get_by_text(sentence)).to_contain_text(f"Der Server meldet: {english}")
    error, sentence = next(refusals)
    page.press("Enter")
    expect(page.page.get_by_text(sentence)).to_contain_text(f"Der Server meldet: {english}")


def test_other_problems_and_those_of_an_english_page_are_the_server_s_sentences(texts_page: Page) -> None:
    run = """((await import("/problems.js")).problemText)"""
    for language, kind, sentence in (("de", "config", "No."), ("en", "leased", "No."), ("en", "store", "No.")):
        shown = in_language(
            texts_page, language, language, f"{run}({{ kind: '{kind}', message: 'No.', is_full: false }})"
        )
        assert shown == sentence


@pytest.mark.parametrize(
    ("locale", "language"), [("zh-TW", "zh"), ("es-MX", "es"), ("fr-FR", "en"), ("en-US", "en"), ("de", "de")]
)
def test_the_best_of_the_offered_languages_is_shown(
    texts_page: Page, chromium: Browser, locale: str, language: str
) -> None:
    script = (ASSETS_PATH / "language.js").read_text(encoding="utf-8")
    context = chromium.new_context(locale=locale)
    page = context.new_page()
    page.route("**/*", lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"))
    page.goto(ORIGIN)
    page.add_script_tag(content=f"document.currentScript.dataset.files = '/ui/';{script}")
    assert page.evaluate("() => annotatorLanguage.language") == language
    assert page.evaluate("() => annotatorLanguage.locale") == (locale if language != "en" or "en" in locale else "en")
    assert page.evaluate("() => document.documentElement.lang") == language
    context.close()


def test_the_language_is_chosen_by_keyboard_and_the_draft_stays(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.type("own tag")
    page.press("Enter")
    page.see_kept("own tag")
    page.settle()
    page.press("Control+k")
    page.type("deutsch")
    with page.page.expect_navigation():
        page.press("Enter")
    page.settle()
    assert language_of(page)[0] == "de"
    page.see_kept("own tag")
    page.at("#menu").press("Enter")
    assert page.at("#language option:checked").inner_text() == "Deutsch"
    with page.page.expect_navigation():
        page.at("#language").select_option("zh")
    page.settle()
    assert language_of(page)[0] == "zh"
    page.see_kept("own tag")
    page.reload()
    expect(page.at("#tagged")).to_have_text("已加标签 0 / 12")


def test_numbers_and_plural_forms_are_those_of_the_language(texts_page: Page) -> None:
    run = "[0, 1, 2, 5, 22, 3180].map(formats.countPhotos)"
    assert in_language(texts_page, "en", "en-GB", run)[1:] == [
        "1 photo", "2 photos", "5 photos", "22 photos", "3,180 photos",
    ]  # fmt: skip
    assert in_language(texts_page, "de", "de-DE", run)[1::4] == ["1 Foto", "3.180 Fotos"]
    assert in_language(texts_page, "de", "de-CH", run)[-1] != "3.180 Fotos"
    assert in_language(texts_page, "zh", "zh-CN", run)[1] == "1 张照片"
    assert in_language(texts_page, "pl", "pl-PL", run)[:5] == [
        "0 zdjęć", "1 zdjęcie", "2 zdjęcia", "5 zdjęć", "22 zdjęcia",
    ]  # fmt: skip
    shares = """[formats.formatPercent(0.813), formats.formatShare(0.87), formats.formatDuration(5400),
      formats.formatAnd(['Anna', 'Ben'])]"""
    assert in_language(texts_page, "en", "en-GB", shares) == ["81%", ".87", "1.5 h", "Anna and Ben"]
    assert in_language(texts_page, "de", "de-DE", shares) == ["81\u00a0%", "0,87", "1,5 h", "Anna und Ben"]
    time = "formats.formatTime('2026-05-04T14:05:00')"
    assert in_language(texts_page, "de", "de-DE", time) == "04.05.2026, 14:05"
    assert in_language(texts_page, "en", "en-GB", time) == "4 May 2026, 14:05"


@pytest.mark.parametrize("code", CODES)
def test_a_language_has_the_plural_forms_that_it_needs(texts_page: Page, code: str) -> None:
    missing = in_language(
        texts_page, code, code,
        f"""await (async () => {{
          const {{ default: all }} = await import("/languages/{code}.js");
          const rules = new Intl.PluralRules("{code}");
          const needed = new Set(Array.from({{ length: 1001 }}, (_, number) => rules.select(number)));
          const forms = Object.entries(all).filter(([, text]) => typeof text !== "string");
          return forms.filter(([, text]) => [...needed].some((category) => !(category in text))).map(([key]) => key);
        }})()""",
    )  # fmt: skip
    assert missing == []


def test_a_missing_text_or_value_is_an_error(texts_page: Page) -> None:
    run = """[() => texts.phrase("no.such"), () => texts.phrase("sweep.title"), () => texts.plural("no.such", 2)]
      .map((call) => { try { return call(); } catch (error) { return error.message; } })"""
    assert in_language(texts_page, "en", "en-GB", run) == [
        "The language en has no text “no.such”.",
        "The text “sweep.title” needs “tag”.",
        "The language en has no text “no.such”.",
    ]


def test_tags_keep_their_own_script_and_direction(serve: Factory, open_page: Factory) -> None:
    server = serve()
    image_id = server.image_id("astronaut.png")
    server.rest("propose", image_id=image_id, kept=[COFFEE, "coffee"], dropped=[], revision=0)
    page = open_page(server)
    page.go_to("astronaut.png")
    page.see_kept(COFFEE, "coffee")
    directions = page.at(".row.kept .tag").evaluate_all("tags => tags.map((tag) => getComputedStyle(tag).direction)")
    assert directions == ["rtl", "ltr"]
    lefts = page.at(".row.kept .tag").evaluate_all(
        """tags => tags.map((tag) => {
          const range = document.createRange();
          range.selectNodeContents(tag);
          return Math.round(range.getBoundingClientRect().left);
        })"""
    )
    assert abs(lefts[0] - lefts[1]) <= 2  # beside their numbers, both
    assert page.at(".row.kept .tag").first.get_attribute("lang") == ""
    page.press("Enter")
    expect(page.at("#status")).to_contain_text(f"\u2068{COFFEE}\u2069, coffee")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("locale", ["de-DE", "es-ES", "zh-CN"])
def test_longer_words_fit(serve: Factory, open_page: Factory, locale: str, size: str) -> None:
    page = open_page(serve(), locale=locale, **SIZES[size])
    look_everywhere(page, isTouch=size == "phone")


@pytest.mark.parametrize("size", SIZES)
def test_nothing_overlaps_where_text_runs_from_the_right(open_from_the_right: Factory, size: str) -> None:
    page = open_from_the_right(**SIZES[size])
    assert language_of(page) == ("ar", "rtl")
    assert page.at("#annotator").evaluate("page => getComputedStyle(page).direction") == "rtl"
    look_everywhere(page, isTouch=size == "phone")


def look_everywhere(page: Any, *, isTouch: bool) -> None:  # noqa: N803
    """Look for misfits on the page, in its menu, its library and its dialogs."""
    found = {"page": page.page.evaluate(MISFITS)}
    page.at(".row.proposed").first.click()
    page.settle()
    page.at(".row.kept").first.click()
    found["kept"] = page.page.evaluate(MISFITS)
    page.at("#menu").click()
    found["menu"] = page.page.evaluate(MISFITS)
    page.at("#menu").click()
    for entry in ("open-export", "open-import", "open-tags", "open-order", "open-effort", "open-model", "open-help"):
        page.choose(f"#{entry}")
        expect(page.at("dialog")).to_be_visible()
        page.settle()
        found[entry] = page.page.evaluate(MISFITS)
        page.at(".dialog-close").click()
        expect(page.at("dialog")).to_have_count(0)
    page.at("#open-browse").click()
    expect(page.at(".cell img")).to_have_count(12) if not isTouch else expect(
        page.at(".cell img").first
    ).to_be_visible()
    found["library"] = page.page.evaluate(MISFITS)
    page.at("#browse-grid").focus()
    page.press("Space")
    expect(page.at("#bulk")).to_be_visible()
    found["selection"] = page.page.evaluate(MISFITS)
    assert {name: misfits for name, misfits in found.items() if misfits} == {}


def test_arrow_keys_go_the_way_that_they_point(open_from_the_right: Factory) -> None:
    page = open_from_the_right(viewport=LAPTOP)
    places = "cells => Object.fromEntries(cells.map((cell) => [cell.id, cell.getBoundingClientRect().left]))"
    page.press("Control+b")
    expect(page.at(".cell img")).to_have_count(12)
    lefts = page.at(".cell").evaluate_all(places)
    assert lefts["cell-0"] > lefts["cell-1"] > lefts["cell-2"]
    page.press("ArrowDown")
    page.press("Home", "ArrowLeft")
    expect(page.at("#cell-1")).to_have_class(re.compile("selected"))
    page.press("ArrowLeft", "ArrowRight", "ArrowRight")
    expect(page.at("#cell-0")).to_have_class(re.compile("selected"))
    page.press("Escape")
    expect(page.at("#browse")).to_be_hidden()
    first = page.at("#file-name").inner_text()
    thumbnails = page.at(".strip-photo").evaluate_all("all => all.map((one) => one.getBoundingClientRect().left)")
    assert thumbnails[0] > thumbnails[1]  # the next photo is to the left
    page.press("ArrowLeft")
    expect(page.at("#file-name")).not_to_have_text(first)
    page.settle()
    page.press("ArrowRight")
    page.see_photo(first)


def test_the_page_of_the_login_is_in_the_language(serve: Factory, run_command: Factory, chromium: Browser) -> None:
    server = serve()
    run_command("users", server.project, "add", "anna", "--role", "admin", check=True, input="correct horse\n")
    context = chromium.new_context(locale="de-DE")
    page = context.new_page()
    page.goto(f"{server.address}/login")
    expect(page.locator("button")).to_have_text("Anmelden")
    expect(page.locator("label").first).to_contain_text("Name")
    assert page.evaluate("() => [document.documentElement.lang, document.title]") == ["de", "Anmelden - annotator"]
    context.close()


def test_the_entrance_of_the_demo_is_in_the_language(serve_demo: Factory, chromium: Browser) -> None:
    context = chromium.new_context(locale="es-ES")
    page = context.new_page()
    page.goto(serve_demo("--minutes", "45"))
    expect(page.locator("#enter")).to_have_text("Empezar")
    expect(page.locator("#short")).to_contain_text("después de 45 minutos")
    assert page.evaluate("() => document.documentElement.lang") == "es"
    context.close()
