"""An export that is cut in the middle is a failed download in the browser, never a file that looks whole."""

from collections.abc import Callable
from typing import Any


def test_the_page_gets_no_whole_file_from_an_export_that_is_cut(
    relay: Callable[..., tuple[Any, Any]], chromium: Any
) -> None:
    _, between = relay("/export", 9_000, kills=False)
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{between.port}/")
        page.wait_for_selector("#export-jsonl", state="attached")
        with page.expect_download() as pending:
            page.evaluate("document.querySelector('#export-jsonl').click()")
        assert pending.value.failure() is not None
        assert between.has_cut.is_set()
        with page.expect_download() as pending:
            page.evaluate(
                "address => { const a = document.createElement('a'); a.href = address; a.download = 'x'; a.click(); }",
                "/api/v1/export?format=csv",
            )
        assert pending.value.failure() is not None
    finally:
        context.close()
