"""The dialog "Queue and effort" in Chromium: plots that can be read, and tables in words."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

Factory = Callable[..., Any]
# Pairs of texts of one plot that overlap, and texts that leave it.
COLLISIONS = """
() => [...document.querySelectorAll("#effort .plot")].flatMap((plot) => {
  const frame = plot.getBoundingClientRect();
  const texts = [...plot.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const leaves = (a) => a.left < frame.left - 1 || a.right > frame.right + 1 || a.bottom > frame.bottom + 1;
  return texts.flatMap(([name, box], index) => [
    ...(leaves(box) ? [[name]] : []),
    ...texts.slice(index + 1).filter(([, other]) => meets(box, other)).map(([other]) => [name, other]),
  ]);
})
"""


def test_plots_have_legends_and_no_label_lies_on_another(serve: Factory, open_page: Factory) -> None:
    server = serve()
    items = server.rest("browse")["items"]
    for number, item in enumerate(items[:8]):
        effort = {"num_keys": 1200 * (number + 1), "seconds": 12345.5 * (number + 1), "tagger": f"model {number % 2}"}
        shown = [{"tag": f"tag {rank}", "score": 0.5, "source": "looks"} for rank in range(20)]
        answer = server.rest("save", image_id=item["image_id"], revision=0, kept=["tag 1"], shown=shown, **effort)
        assert "error" not in answer, answer
    page = open_page(server)
    page.choose("#open-effort")
    expect(page.at("#effort .plot")).to_have_count(3)
    assert page.page.evaluate(COLLISIONS) == []
    legends = page.at("#effort .plot-legend")
    expect(legends).to_have_count(2)
    expect(legends.first.locator("li")).to_have_text(["model 0", "model 1"])
    # Every column is called by words; the report's own names are in the CSV files.
    names = page.at("#effort th").all_text_contents()
    assert "seconds a photo (median)" in names
    assert not [name for name in names if "_" in name or name.startswith("num ")]
