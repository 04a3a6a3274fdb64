"""Who may import whom, read from the source."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("annotator", "models", "trainer", "datasets")
SISTERS = FOLDERS[1:]
LAYERS: tuple[tuple[str, ...], ...] = (
    ("annotator.cli",),
    ("annotator.hosted",),
    ("annotator.web", "annotator.simulation"),
    ("annotator.session",),
    ("annotator.learning", "annotator.active_learning", "annotator.collaboration"),
    (
        "annotator.auth", "annotator.proposals", "annotator.ingest", "annotator.maintenance", "annotator.reports",
        "annotator.exchange",
    ),
    ("annotator.storage",),
    ("annotator.retrieval", "annotator.ui", "annotator.settings", "annotator.client"),
    (
        "annotator.keymap", "annotator.rwlock", "annotator.json_types", "annotator.server_proof",
        "annotator.thread_priority", "annotator.request_record",
    ),
    ("annotator.trainer.finetuning",),
    ("annotator.trainer",),
    ("annotator.trainer.evaluation",),
    ("annotator.models.checkpoint", "annotator.models.growth", "annotator.models.new_tags"),
    ("annotator.models.registry", "annotator.models.tag_order"),
    ("annotator.models.taggers",),
    ("annotator.models.sequence",),
    ("annotator.models.detectors", "annotator.models.word_vectors", "annotator.models.vision_language"),
    ("annotator.models.backbones", "annotator.models"),
    ("annotator.datasets.loaders", "annotator.datasets.formats"),
    ("annotator.datasets",),
    ("annotator.ranges", "annotator.carried_models"),
    ("annotator", "annotator.errors"),
)  # fmt: skip
"""Top first. A module imports modules of its own entry and of lower lines, never of a line above or of an entry beside.

An entry is a package with all below it that no other entry names, or one file of a package's root.
"""
HUGGING_FACE = ROOT / "tests/datasets/formats/readers/ask.py"
"""Runs in an environment without this program, where `datasets` is Hugging Face's package."""
MOST_LEVELS = 10
"""Of packages in annotator/ itself."""
HOMES = {
    "duckdb": {"annotator/storage/database.py", "models/word_vectors/glove_package.py"},
    "faiss": {"annotator/retrieval/faiss_backend.py"},
    "gensim": {"models/word_vectors/word_vector_files.py"},
    "gradio": {"annotator/web/app.py", "annotator/ui/*"},
    "opentelemetry": {"annotator/web/traces.py"},
    "prometheus_client": {"annotator/web/metrics.py"},
    "rapidfuzz": {"annotator/proposals/vocabulary/merge_candidates.py"},
    "onnxruntime": {"models/backbones/backbone.py", "models/backbones/hub_install.py"},
    "pyarrow": {"datasets/formats/parquet.py"},
    "ray": {"annotator/ingest/ray_engine.py"},
}
"""Library -> the files that may import it."""


def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def module_of(path: Path) -> str:
    """The name under which a file of ours is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts if parts[0] == "annotator" else ("annotator", *parts))
    return name.removesuffix(".__init__")


MODULES = {module_of(path): path for folder in FOLDERS for path in sources(folder)}
PACKAGES = {module.rpartition(".")[0] for module in MODULES if module.count(".") > 1}


def imported(source: str, modules: Iterable[str] = MODULES) -> Iterator[str]:
    """Yield the modules that a file imports anywhere, with ``from package import module`` as package.module."""
    known = set(modules)
    for name, package in names_imported(source):
        yield name if package is None or name in known else package


@cache  # the tests ask for the same files again and again
def names_imported(source: str) -> tuple[tuple[str, str | None], ...]:
    """Return every name a file imports anywhere, ``from package import name`` as package.name with the package."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            assert node.module is not None
            found += [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                found.append((str(argument.value), None))
    return tuple(found)


def imported_at_start(source: str, modules: Iterable[str]) -> Iterator[str]:
    """Yield what a file imports as soon as it is imported itself; imports in functions cannot make a circle."""
    tree = ast.parse(source)
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    yield from imported(ast.unparse(ast.Module(top, [])), modules)


def entry_of(module: str) -> str:
    """The entry of `LAYERS` that a module belongs to: the longest that fits."""
    entries = [entry for layer in LAYERS for entry in layer]
    return max((entry for entry in entries if f"{module}.".startswith(f"{entry}.")), key=len)


def violations(files: Mapping[str, str]) -> list[str]:
    """Return every import that goes up or sideways.

    Args:
        files: Module -> source.
    """
    level = {entry: place for place, layer in enumerate(LAYERS) for entry in layer}
    known = {*MODULES, *files}
    found = []
    for module, source in files.items():
        own = entry_of(module)
        for other in imported(source, known):
            if other.split(".")[0] == "annotator":
                target = entry_of(other)
                if target != own and level[target] <= level[own]:
                    direction = "up" if level[target] < level[own] else "sideways"
                    found.append(f"{module} imports {other} ({direction})")
    return found


def test_the_reader_of_imports_sees_every_form() -> None:
    source = (
        "import faiss\nfrom annotator.session import workspace\nfrom annotator.models.backbones import backbone as b\n"
        "from annotator.storage.database import Store\ndef f():\n    import duckdb as d\n"
        "    importlib.import_module('gradio')\n"
    )
    assert set(imported(source)) == {
        "faiss",
        "annotator.session.workspace",
        "annotator.models.backbones.backbone",
        "annotator.storage.database",
        "duckdb",
        "gradio",
    }
    assert set(imported_at_start(source, MODULES)) == set(imported(source)) - {"duckdb", "gradio"}


def test_every_package_and_every_file_of_the_root_has_a_place() -> None:
    entries = {entry for layer in LAYERS for entry in layer}
    assert {module for module in MODULES if module != "annotator" and entry_of(module) == "annotator"} == set()
    assert [entry for entry in entries if entry not in MODULES and entry not in PACKAGES] == []


def test_no_import_goes_up_or_sideways() -> None:
    assert violations({module: path.read_text(encoding="utf-8") for module, path in MODULES.items()}) == []


@pytest.mark.parametrize(
    ("module", "source", "direction"),
    [
        ("annotator.storage.planted", "from annotator.session.session import Session", "up"),
        ("annotator.reports.planted", "def f():\n    from annotator.ingest import pictures", "sideways"),
        ("annotator.web.planted", "import annotator.simulation.report", "sideways"),
        ("annotator.session.planted", "from annotator.cli.main import main", "up"),
        ("annotator.models.planted", "from annotator.models.taggers import jvsp", "up"),
        ("annotator.models.detectors.planted", "from annotator.models.word_vectors import word_vectors", "sideways"),
        ("annotator.trainer.planted", "from annotator.settings import IngestConfig", "up"),
        ("annotator.datasets.planted", "from annotator.datasets.loaders import coco", "up"),
        ("annotator.keymap", "from annotator.rwlock import ReadWriteLock", "sideways"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str, direction: str) -> None:
    found = violations({module: source})
    assert len(found) == 1
    assert found[0].endswith(f"({direction})")


def test_a_way_down_is_no_violation() -> None:
    source = "from annotator.storage.database import Store\nfrom annotator.models import registry\nimport numpy"
    assert violations({"annotator.session.planted": source}) == []


def test_the_packages_of_annotator_have_few_levels() -> None:
    own = [layer for layer in LAYERS if {entry.split(".")[1] for entry in layer if "." in entry} - {*SISTERS}]
    assert len([layer for layer in own if any(entry in PACKAGES for entry in layer)]) <= MOST_LEVELS


def circle_of(graph: Mapping[str, Iterable[str]]) -> str | None:
    """Return a circle of imports, if there is one."""
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> str | None:
        if module in above:
            return " -> ".join((*above, module))
        if module in graph and module not in done:
            for other in graph[module]:
                found = visit(other, (*above, module))
                if found:
                    return found
            done.add(module)
        return None

    return next(filter(None, (visit(module, ()) for module in graph)), None)


def test_no_module_of_ours_imports_in_a_circle() -> None:
    graph = {
        module: set(imported_at_start(path.read_text(encoding="utf-8"), MODULES)) - {"annotator"}
        for module, path in MODULES.items()
    }
    assert circle_of(graph) is None
    assert circle_of({"a": ["b"], "b": ["c"], "c": ["a"]}) == "a -> b -> c -> a"


def test_nobody_imports_the_sister_folders_by_their_bare_names() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in (*FOLDERS, "tests")
        for path in sources(folder)
        if path != HUGGING_FACE
        for module in imported(path.read_text(encoding="utf-8"))
        # Bare `datasets` would be Hugging Face's package.
        if module.split(".")[0] in SISTERS
    ]
    assert wrong == []


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in MODULES.values()
        for module in imported(path.read_text(encoding="utf-8"))
        if module.split(".")[0] == library
    }
    assert users, f"nobody imports {library}: mend this test"
    assert [user for user in users if not any(Path(user).match(home) for home in HOMES[library])] == []


def test_routes_and_page_know_the_operations_and_nothing_deeper() -> None:
    allowed = {
        "annotator.session.operations", "annotator.session.serializers", "annotator.session.answers",
        "annotator.web.description", "annotator.auth.roles", "annotator.errors",
        "annotator.json_types", "annotator.exchange.export", "annotator.exchange.selection",
        "annotator.ingest.pictures", "annotator.web.counted_stream", "annotator.web.picture_pool",
        "annotator.web.request_guard", "annotator.web.readiness",
    }  # fmt: skip
    for path in (ROOT / "annotator" / "web" / "routes.py", *sources("annotator/ui")):
        ours = {name for name in imported(path.read_text(encoding="utf-8")) if name.split(".")[0] == "annotator"}
        assert ours - allowed == set(), path.name


def test_the_sister_folders_are_no_packages_of_their_own() -> None:
    """As top-level packages, `datasets` would shadow Hugging Face's."""
    assert [path for folder in SISTERS for path in (ROOT / folder).rglob("__init__.py")] == []
