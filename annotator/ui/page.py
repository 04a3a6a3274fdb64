"""The Gradio side of the page: one gr.HTML with a fixed template, whose server functions have the operations' names.

Gradio offers them to the page; its calls are answered by web/page_routes.py. Knows nothing of what the operations do.
The page itself is in ``assets/``: ``page.js`` builds it, ``page.css`` is its style sheet, ``page.html`` holds its
landmarks.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import gradio as gr

STANDING_ALONE = frozenset({"token.js", "language.js", "login.js", "entrance.js"})
"""Scripts of other pages, and those that are inlined in the head."""

ASSETS_PATH = Path(__file__).parent / "assets"
"""The files that ``/ui/{file}`` serves; ``languages/`` has the texts, a file for each language."""


def assets_version() -> str:
    """Return a short hash of the content of all assets."""
    digest = hashlib.sha256()
    for path in sorted(path for path in ASSETS_PATH.rglob("*") if path.is_file()):
        digest.update(path.relative_to(ASSETS_PATH).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def page_head(root_path: str = "") -> str:
    """Return the content of the document's head, for ``gr.mount_gradio_app(head=...)``.

    The token script comes first: it adds the header ``X-Annotator-Token`` to every same-origin call, Gradio's own
    included. The next one chooses the language and fetches its texts. The style sheet is linked, not passed as
    ``css=``, whose selectors Gradio rewrites and breaks. The preloads fetch the page's modules while Gradio is still
    starting.

    Args:
        root_path: The prefix under which a reverse proxy offers the page, without a slash at its end.
    """
    modules = sorted(path.name for path in ASSETS_PATH.glob("*.js") if path.name not in STANDING_ALONE)
    token, language = ((ASSETS_PATH / name).read_text(encoding="utf-8") for name in ("token.js", "language.js"))
    preloads = [f'<link rel="modulepreload" href="{root_path}/ui/{name}">' for name in modules]
    style = f'<link rel="stylesheet" href="{root_path}/ui/page.css">'
    scripts = [f"<script>{token}</script>", f'<script data-files="{root_path}/ui/">{language}</script>']
    return "\n".join([*scripts, style, *preloads])


def build_page(operations: Iterable[str], *, title: str = "Annotator", root_path: str = "") -> gr.Blocks:
    """Build the page.

    Args:
        operations: Names; the page gets a function for each. A known error must be answered as ``{"error": {...}}``,
            since exceptions do not reach the browser.
        title: The document's title until the page knows its project.
        root_path: As of `page_head`.
    """
    blocks = gr.Blocks(title=title, fill_width=True, fill_height=True, analytics_enabled=False)
    with blocks:
        gr.HTML(
            html_template=(ASSETS_PATH / "page.html").read_text(encoding="utf-8"),
            js_on_load=_ON_LOAD.replace("ROOT_PATH", root_path),
            apply_default_css=False,
            elem_id="annotator-host",
            server_functions=[_declared(name) for name in operations],
        )
    return blocks


# Gradio runs this text as the body of a function of (element, trigger, props, server, upload, watch). The address is
# whole: Chromium keeps the compiled text from another server's page in the same tab, and would complete it as there.
_ON_LOAD = """
const address = new URL("ROOT_PATH/ui/page.js", location.href).href;
import(address).then((page) => page.start({ element, server })).catch((error) => {
  console.error(error);
  element.textContent = "The page could not be loaded: " + error.message + ". Reload it.";
});
"""


def _declared(name: str) -> Callable[[object], object]:
    # Gradio tells the page the names of functions, and finds them by their __name__. It never calls these.
    def call(payload: object) -> object:
        raise RuntimeError(f"The page's call of {name} did not go to web/page_routes.py.")

    call.__name__ = call.__qualname__ = name
    return call
