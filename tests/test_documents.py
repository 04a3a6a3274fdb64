"""What README.md and docs/ name exists, and what exists is named.

The convention: a heading, and below it tables whose first column holds one name in backticks a row (of a command: its
whole line). `SECTION` in a test says which document and heading hold which names. Commands in running text are tested
in test_packaging.py.
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator import __version__
from annotator.cli.main import build_parser
from annotator.datasets.formats import registry as registry_of_formats
from annotator.datasets.loaders import published
from annotator.keymap import DEFAULT_KEYS
from annotator.models import registry
from annotator.models.checkpoint import STARTER, starter_names
from annotator.models.taggers.cold_start import COLD_START
from annotator.session.operations import FORMER_NAMES, OPERATIONS
from annotator.settings import STRATEGIES, IngestConfig, LoopSettings, ObservationConfig, ProjectSettings, ServerConfig

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
EXPERIMENTS = sorted(path for path in (DOCS / "experiments").glob("*.md") if path.name != "index.md")
MOST_PICTURE_BYTES = 2_000_000
SETTINGS = {
    "usage.md": ProjectSettings,
    "learning.md": LoopSettings,
    "security.md": ServerConfig,
    "hosting.md": ObservationConfig,
    "performance.md": IngestConfig,
}
"""Document with a heading of the class's name -> the class."""
COMMAND = re.compile(r"`[^`]*(?:python tests/benchmarks/\w+\.py|annotator (?:simulate|train|evaluate|finetune) )[^`]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCE = re.compile(r"`((?:annotator|models|trainer|datasets|tests)/[\w./]+\.(?:py|js|json|tsv))`")
PACKAGE = re.compile(r"`(annotator/\w+(?:/\w+)*)/?`")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """A document without its fenced code."""
    return re.sub(r"^```.*?^```$", "", read(path), flags=re.DOTALL | re.MULTILINE)


def section(path: Path, heading: str) -> str:
    """The text below a heading, up to the next one of its level or a higher one."""
    match = re.search(rf"^(#+) {re.escape(heading)}$", read(path), re.MULTILINE)
    assert match, f"{name_of(path)} has no heading {heading!r}"
    rest = read(path)[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of each table, without heads."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        is_head = number + 1 < len(lines) and re.fullmatch(r"\|[ :|-]+\|", lines[number + 1])
        if line.startswith("| ") and not is_head and not re.fullmatch(r"\|[ :|-]+\|", line):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def named(path: Path, heading: str) -> list[list[str]]:
    """The rows below a heading, the first cell without its backticks; no name may stand there twice."""
    found = [[re.sub(r"^`(.*)`$", r"\1", first), *rest] for first, *rest in rows(section(path, heading))]
    names = [first for first, *_ in found]
    assert sorted(set(names)) == sorted(names), f"{name_of(path)} names something twice below {heading!r}"
    return found


def names(path: Path, heading: str) -> set[str]:
    return {first for first, *_ in named(path, heading)}


def commands() -> dict[str, Any]:
    (group,) = build_parser()._subparsers._group_actions  # type: ignore[union-attr]
    return dict(group.choices)  # type: ignore[arg-type]


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    documented = {line.split()[1] for line in names(DOCS / "usage.md", "Commands")}
    assert documented == set(commands())


def test_every_option_of_serve_is_documented_and_every_documented_one_exists() -> None:
    options = {option for action in commands()["serve"]._actions for option in action.option_strings}
    assert names(DOCS / "usage.md", "Options of serve") == options - {"-h", "--help"}


def test_every_key_is_documented_with_its_default() -> None:
    # The table of fixed keys, below that of the actions, has two columns.
    actions = {name: rest[0] for name, *rest in named(DOCS / "usage.md", "Keys") if len(rest) == 2}
    assert {name: tuple(re.findall(r"`([^`]+)`", keys)) for name, keys in actions.items()} == DEFAULT_KEYS


@pytest.mark.parametrize(("document", "settings"), SETTINGS.items())
def test_every_setting_is_documented_with_its_default(document: str, settings: type) -> None:
    documented = {name: rest[0] for name, *rest in named(DOCS / document, settings.__name__)}
    fields = dataclasses.fields(settings)
    assert set(documented) == {field.name for field in fields}
    for field in fields:
        if field.default is not dataclasses.MISSING:
            assert documented[field.name] == as_written(field.default), field.name


def as_written(value: object) -> str:
    """A default value as the documents write it."""
    if value == () or value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(as_written, value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"`{value}`" if value else "empty"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else f"{value:g}"


def test_every_operation_is_documented_with_its_least_role() -> None:
    former = names(DOCS / "rest.md", "Former names")
    documented = {name: rest[0] for name, *rest in named(DOCS / "rest.md", "Operations") if name not in former}
    assert documented == {name: operation.least_role.label for name, operation in OPERATIONS.items()}


def test_every_former_name_of_an_operation_is_documented() -> None:
    documented = {name: rest[0].strip("`") for name, *rest in named(DOCS / "rest.md", "Former names")}
    assert documented == FORMER_NAMES


def test_every_tagger_is_documented_with_its_file() -> None:
    documented = {
        name: rest[-1].strip("`") for name, *rest in named(DOCS / "taggers.md", "Taggers that can be trained")
    }
    assert set(documented) == set(registry.all_names())
    for name, path in documented.items():
        module = registry._TARGETS[name].split(":")[0].removeprefix("annotator.").replace(".", "/")
        assert path == f"{module}.py", name


def test_every_tagger_that_comes_along_is_documented() -> None:
    documented = names(DOCS / "taggers.md", "Taggers that come with the program")
    assert documented == {STARTER, COLD_START, *starter_names()}


def test_every_format_is_documented_with_what_survives() -> None:
    documented = {name: rest[1:6] for name, *rest in named(DOCS / "formats.md", "What survives")}
    found = {name: registry_of_formats.find(name).survival for name in registry_of_formats.names()}
    assert documented == {name: list(dataclasses.astuple(survival)) for name, survival in found.items()}


def test_every_published_data_set_is_documented_with_its_module() -> None:
    table = rows(section(DOCS / "datasets.md", "Published data sets"))
    documented = {name: rest[0].strip("`") for names_, *rest in table for name in re.findall(r"`([^`]+)`", names_)}
    modules = {name: f"datasets/loaders/{module}.py" for name, (module, _, _) in published._LOADERS.items()}
    assert documented == modules


def test_every_query_strategy_is_documented() -> None:
    assert names(DOCS / "learning.md", "Which photo comes next") == set(STRATEGIES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_links_of_a_document_resolve(document: Path) -> None:
    for link in LINK.findall(prose(document)):
        if re.match(r"[a-z]+://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_files_that_a_document_names_exist(document: Path) -> None:
    text = read(document)
    for name in [*SOURCE.findall(text), *re.findall(r"tests/benchmarks/\w+\.py", text)]:
        assert (ROOT / name).is_file(), name
    for name in PACKAGE.findall(text):
        assert (ROOT / name).is_dir(), name


def test_every_package_has_a_line_in_the_architecture() -> None:
    packages = {name_of(path.parent) for path in (ROOT / "annotator").glob("*/__init__.py")}
    documented = {first for first in names(DOCS / "architecture.md", "Architecture") if first.startswith("annotator/")}
    assert {name for name in documented if not name.endswith(".py")} == packages


def test_the_tests_that_security_names_exist() -> None:
    for _, tests in rows(section(DOCS / "security.md", "What holds, and the test that fails without it")):
        found = re.findall(r"`([^`]+)`", tests)
        assert found, tests
        for name in found:
            places = (ROOT / name, ROOT / f"tests/{name}.py", ROOT / f"tests/annotator/{name}.py")
            assert any(place.is_file() for place in places), name


@pytest.mark.parametrize("document", EXPERIMENTS, ids=name_of)
def test_a_table_of_the_experiments_has_its_command(document: Path) -> None:
    parts = re.split(r"^## ", read(document), flags=re.MULTILINE)
    for part in parts:
        if any(rows(part)):
            assert COMMAND.search(" ".join(part.split())), part.splitlines()[0]


def test_the_index_of_the_experiments_states_every_file_in_a_line() -> None:
    index = read(DOCS / "experiments" / "index.md")
    listed = re.findall(r"^\d+\. \[[\w-]+\]\(([\w-]+\.md)\): \S.*\.$", index, re.MULTILINE)
    assert sorted(listed) == [path.name for path in EXPERIMENTS]
    assert len(listed) <= 12


def test_the_short_documents_are_short() -> None:
    assert len(read(ROOT / "README.md").splitlines()) <= 150
    assert len(read(DOCS / "glossary.md").splitlines()) <= 40
    terms = [line for line in read(DOCS / "glossary.md").splitlines() if not line.startswith(("#", "- **")) and line]
    assert terms == [], "a term is longer than its line"
    for walk in ("The way of a photo's id, from the page to the database", "The way of a save, to the live model"):
        assert len(section(DOCS / "architecture.md", walk).strip().splitlines()) <= 25


def test_the_pictures_are_small_and_shown() -> None:
    pictures = [path for path in (DOCS / "pictures").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in pictures) <= MOST_PICTURE_BYTES
    texts = "".join(read(path) for path in DOCUMENTS)
    assert [path.name for path in pictures if f"pictures/{path.name})" not in texts] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_document_names_a_folder_of_somebodys_machine(document: Path) -> None:
    assert re.findall(r"(?<![\w~.])/(?:home|root|work|Users)/\S*", read(document)) == []


def test_the_version_is_the_same_everywhere() -> None:
    assert tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"] == __version__
    released = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert released[0] == __version__


def test_the_command_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"annotator {__version__}\n"
