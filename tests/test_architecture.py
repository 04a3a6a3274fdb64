"""Who may import whom, read from the source."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("annotator", "models", "trainer", "datasets")
MAY_IMPORT = {
    "datasets": {"datasets"},
    "models": {"models", "datasets"},
    "trainer": {"trainer", "models", "datasets"},
    "annotator": {"annotator", "trainer", "models", "datasets"},
}
HOMES = {
    "duckdb": {"annotator/store.py", "models/glove_package.py"},
    "faiss": {"annotator/faiss_library.py"},
    "gensim": {"models/word_vector_files.py"},
    "gradio": {"annotator/app.py", "annotator/ui/*"},
    "onnxruntime": {"models/backbone.py"},
}
FACE = {
    "annotator.session",
    "annotator.answer_forms",
    "annotator.access",
    "annotator.operations",
    "annotator.pictures",
    "annotator.errors",
}
"""What the routes and the page may know of the inside."""


def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


@functools.cache
def imported(path: Path) -> tuple[str, ...]:
    """Return the modules a file imports anywhere, with ``from package import module`` as package.module."""
    return tuple(imports_in(path))


def imports_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            assert node.module is not None
            is_package = (ROOT / node.module.replace(".", "/")).is_dir() or node.module in {
                f"annotator.{folder}" for folder in FOLDERS
            }
            if is_package:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value)


def folder_of(module: str) -> str | None:
    """The folder of ours a module lies in; None for other people's."""
    if module == "annotator" or module.startswith("annotator."):
        part = module.split(".")[1] if "." in module else ""
        return part if part in FOLDERS else "annotator"
    return None


def test_the_reader_of_imports_sees_every_form(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(
        "import faiss\nfrom annotator import session\nfrom annotator.models import backbone as b\n"
        "from annotator.store import Store\ndef f():\n    import duckdb as d\n    importlib.import_module('gradio')\n"
    )
    found = set(imported(source))
    assert found == {
        "faiss",
        "annotator.session",
        "annotator.models.backbone",
        "annotator.store",
        "duckdb",
        "gradio",
    }
    assert [folder_of(name) for name in ("annotator.models.backbone", "annotator.store", "models", "duckdb")] == [
        "models",
        "annotator",
        None,
        None,
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_follow_the_arrows(folder: str) -> None:
    assert sources(folder)
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(folder)
        for module in imported(path)
        if (target := folder_of(module)) and target not in MAY_IMPORT[folder] and module != "annotator.errors"
        # annotator.errors is a leaf that everybody may import
    ]
    assert wrong == []


def test_errors_is_a_leaf() -> None:
    assert [module for module in imported(ROOT / "annotator" / "errors.py") if folder_of(module)] == []


def test_nobody_imports_the_sister_folders_by_their_bare_names() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in (*FOLDERS, "tests")
        for path in sources(folder)
        for module in imported(path)
        # Bare `datasets` would be Hugging Face's package.
        if module.split(".")[0] in {"models", "trainer", "datasets"}
    ]
    assert wrong == []


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library: str) -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in sources(folder)
        for module in imported(path)
        if module.split(".")[0] == library
    }
    assert users, f"nobody imports {library}: mend this test"
    assert [user for user in users if not any(Path(user).match(home) for home in HOMES[library])] == []


def test_routes_and_page_know_only_the_face_of_the_inside() -> None:
    """The routes' own neighbours (security's cookie name, the export's formats) know nothing of the inside either."""
    harmless = {"annotator.security", "annotator.export"}
    for path in (ROOT / "annotator" / "routes.py", *sources("annotator/ui")):
        deeper = {module for module in imported(path) if folder_of(module)} - FACE - harmless
        assert deeper == set(), path.name
    for module in harmless:
        path = ROOT / f"{module.replace('.', '/')}.py"
        assert [name for name in imported(path) if folder_of(name) and name not in FACE] == []


def test_only_the_composition_root_and_the_commands_know_the_app() -> None:
    users = {
        path.name
        for folder in FOLDERS
        for path in sources(folder)
        if {"annotator.app", "annotator.cli"} & set(imported(path))
    }
    assert users <= {
        "cli.py",
        "training_commands.py",
        "evaluation_command.py",
        "model_commands.py",
        "simulation.py",
        "hosted_app.py",
    }


def test_the_trainer_never_opens_the_database() -> None:
    for folder in ("trainer", "models", "datasets"):
        for path in sources(folder):
            # DuckDB also reads the word list of a package, in memory; that is no project's database.
            barred = {"annotator.store"} if path.name == "glove_package.py" else {"annotator.store", "duckdb"}
            assert not barred & set(imported(path)), path.name


def test_the_sister_folders_are_flat_and_no_packages() -> None:
    for folder in ("models", "trainer", "datasets"):
        assert not (ROOT / folder / "__init__.py").exists()
        assert [path for path in sources(folder) if path.parent != ROOT / folder] == []


def test_no_module_of_ours_imports_in_a_circle() -> None:
    graph = {}
    for folder in FOLDERS:
        for path in sources(folder):
            relative = path.relative_to(ROOT).with_suffix("")
            parts = relative.parts if folder == "annotator" else ("annotator", *relative.parts)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            # Imports inside functions or for type checkers only cannot make a loop.
            top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            modules = {f"{node.module}" for node in top if isinstance(node, ast.ImportFrom)}
            modules |= {
                f"{node.module}.{alias.name}"
                for node in top
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            graph[".".join(parts)] = modules
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module in graph and module not in done:
            for other in graph[module]:
                if other in graph:
                    visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())
