"""Runs the tests of the page's pure modules (page_draft.test.mjs) inside Chromium, so that they need no Node."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

ROOT = Path(__file__).parents[3]
TESTS_PATH = Path(__file__).with_name("page_draft.test.mjs")
ORIGIN = "http://modules.test"

# The parts of Node's test modules that the tests use.
NODE_TEST = "export const test = (name, run) => { (globalThis.tests ??= []).push({ name, run }); };"
NODE_ASSERT = """
const plain = (value) => JSON.stringify(value, (key, part) => (part === undefined ? "undefined" : part));
const check = (holds, ...values) => { if (!holds) throw new Error(values.map(plain).join(" | ")); };
export default {
  equal: (one, other, note) => check(Object.is(one, other), one, other, note ?? ""),
  notEqual: (one, other) => check(!Object.is(one, other), one, other),
  deepEqual: (one, other) => check(plain(one) === plain(other), one, other),
  ok: (value) => check(Boolean(value), value),
  match: (text, pattern) => check(pattern.test(text), text, String(pattern)),
};
"""
PAGE = """<script type="importmap">
{"imports": {"node:test": "/node_test.mjs", "node:assert/strict": "/node_assert.mjs"}}
</script><script type="module" src="/tests/annotator/ui/page_draft.test.mjs"></script>"""
RUN = """
async () => {
  const failures = {};
  for (const { name, run } of globalThis.tests) {
    try { await run(); } catch (error) { failures[name] = String(error.message ?? error); }
  }
  return { num: globalThis.tests.length, failures };
}
"""


@pytest.fixture
def module_page(chromium: Browser) -> Iterator[Page]:
    """A page whose requests are answered with the tests and modules of the source tree."""
    made = {"/": ("text/html", PAGE), "/node_test.mjs": ("text/javascript", NODE_TEST)}
    made["/node_assert.mjs"] = ("text/javascript", NODE_ASSERT)

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        if path in made:
            route.fulfill(content_type=made[path][0], body=made[path][1])
        elif path.startswith(("/annotator/ui/assets/", "/tests/annotator/")):
            route.fulfill(content_type="text/javascript", body=(ROOT / path[1:]).read_text(encoding="utf-8"))
        else:
            route.fulfill(status=404)

    page = chromium.new_page()
    page.route("**/*", answer)
    yield page
    page.close()


def test_the_pure_modules_pass_their_tests(module_page: Page) -> None:
    module_page.goto(ORIGIN)
    module_page.wait_for_function(
        "() => globalThis.tests?.length"
    )  # the texts are awaited, which no load event waits for
    result: dict[str, Any] = module_page.evaluate(RUN)
    assert result["failures"] == {}
    assert result["num"] == TESTS_PATH.read_text(encoding="utf-8").count("\ntest(")


def test_a_failing_module_test_is_reported(module_page: Page) -> None:
    module_page.goto(ORIGIN)
    module_page.wait_for_function("() => globalThis.tests?.length")
    module_page.evaluate(
        "async () => { const { default: assert } = await import('node:assert/strict');"
        "globalThis.tests = [{ name: 'wrong', run: () => assert.deepEqual([1], [2]) }]; }"
    )
    assert module_page.evaluate(RUN) == {"num": 1, "failures": {"wrong": "[1] | [2]"}}
