"""What is installed is what is in the tree, and the commands in README and docs/ work."""

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from annotator import __version__
from annotator.cli.main import build_parser
from annotator.hosted.deployment_files import FILES as DEPLOYED_FILES
from annotator.models.backbones.backbone import Backbone

pytestmark = pytest.mark.integration  # builds and make are processes

ROOT = Path(__file__).parent.parent
HOME_OF = {"annotator": "annotator", "models": "annotator/models", "trainer": "annotator/trainer",
           "datasets": "annotator/datasets"}  # fmt: skip
FILES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
LITTER = shutil.ignore_patterns("__pycache__", "*.pyc")
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, so that nothing is built inside of it."""
    folder = tmp_path_factory.mktemp("source")
    for name in FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    for name in HOME_OF:
        shutil.copytree(ROOT / name, folder / name, ignore=LITTER)
    return folder


def build(what: str, source: Path, target: Path) -> Path:
    """Build with the installed setuptools: no network, no isolation."""
    command = [sys.executable, "-c", BUILD, what, str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_sdist", source, tmp_path_factory.mktemp("sdist"))


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def names_in_tree() -> set[str]:
    """Every file of the four folders, as it should lie in the wheel."""
    names = set()
    for folder, home in HOME_OF.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                names.add(f"{home}/{path.relative_to(ROOT / folder).as_posix()}")
    return names


def test_the_wheel_holds_every_file_of_the_tree_and_nothing_else(wheel: Path) -> None:
    assert names_in(wheel) == names_in_tree()


def test_nothing_but_annotator_is_installed_at_the_top(wheel: Path) -> None:
    # A package `datasets` here would overwrite Hugging Face's on install, and delete it on uninstall.
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {"annotator", f"annotator-{__version__}.dist-info"}


def test_the_wheel_names_its_version_license_command_and_extras(wheel: Path) -> None:
    info = f"annotator-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata
    for extra in ("cpu", "gpu", "parquet", "dev"):
        assert f"\nProvides-Extra: {extra}\n" in metadata
    for package, extra in (("faiss-cpu", "cpu"), ("faiss-gpu", "gpu")):
        (line,) = re.findall(rf"^Requires-Dist: {package}\b.*$", metadata, re.MULTILINE)
        assert f'extra == "{extra}"' in line
    assert "annotator = annotator.cli.main:main" in entry_points


def test_the_wheel_built_from_the_source_archive_is_the_same(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        # Python before 3.11.4 has no filters; the attribute sets one where there are any.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    (unpacked,) = tmp_path.iterdir()
    assert (unpacked / "README.md").exists()
    assert (unpacked / "LICENSE").exists()
    assert names_in(build("build_wheel", unpacked, tmp_path)) == names_in(wheel)


def test_the_unpacked_wheel_runs_without_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = (
        "import annotator.web.server, annotator.ui.page as page, annotator.models.taggers.cold_start as cold_start\n"
        "import annotator.trainer.evaluation.metrics\n"
        "from annotator.datasets.vocabulary import everyday_words\n"
        "from pathlib import Path\n"
        "assert len(everyday_words()) > 500 and len(cold_start.load_table().words) > 100\n"
        "assert 'X-Annotator-Token' in page.page_head()\n"
        "for module in (annotator.web.server, page, cold_start, annotator.trainer.evaluation.metrics):\n"
        "    print(Path(module.__file__).resolve())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert Path(line).is_relative_to(site.resolve())
    command = [sys.executable, "-m", "annotator.cli", "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"annotator {__version__}\n"


def test_the_wheel_is_installed_into_a_new_environment_and_runs_there(
    wheel: Path, backbone: Backbone, demo_photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    python, annotator = folder / "bin" / "python", folder / "bin" / "annotator"

    def run(*command: object, **environment: str) -> str:
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
    # The dependencies are this environment's: they take gigabytes. Its editable install of annotator is no folder on
    # the path but a finder that only its own start-up makes, so what is imported is the wheel's.
    borrowed = {"PYTHONPATH": str(Path(np.__file__).parents[1])}
    where = run(python, "-c", "import annotator.models.registry as m; print(m.__file__)", **borrowed)
    assert Path(where.strip()).is_relative_to(folder)
    assert run(annotator, "--version", **borrowed) == f"annotator {__version__}\n"
    found = json.loads(run(annotator, "suggest", demo_photos / "cat.png", "--json", **borrowed))
    assert "cat" in [tag["tag"] for tag in found[0]["tags"][:3]]


def test_hugging_faces_name_stays_free_in_the_source_tree() -> None:
    program = "import importlib.util; spec = importlib.util.find_spec('datasets'); print(spec and spec.origin)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    # A folder without __init__.py gives way to an installed package of that name, wherever that lies.
    assert done.stdout.strip() in {"None", ""} or not Path(done.stdout.strip()).is_relative_to(ROOT / "datasets")
    assert not (ROOT / "datasets" / "__init__.py").exists()


def documented_blocks() -> Iterator[str]:
    """Commands in fenced blocks."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.strip().removeprefix("$ ").split("  #")[0]
                if command and not command.startswith("#"):
                    yield command


def documented_mentions() -> Iterator[str]:
    """Commands in running text and tables, such as `annotator suggest PHOTO... [--json]`."""
    for path in DOCUMENTS:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for command in re.findall(r"`(annotator [^`]+)`", text):
            plain = " ".join(command.split()).replace("...", "").replace("\\|", "|")
            yield re.sub(r"(\w+)\|[\w|]+", r"\1", plain.replace("[", "").replace("]", ""))


def without_shell(command: str) -> list[str]:
    words = shlex.split(command)
    words = words[: min([place for place, word in enumerate(words) if word in {"|", ">", "&&"}], default=len(words))]
    return list(dropwhile(lambda word: re.fullmatch(r"[A-Z_]+=\S+", word), words))


@pytest.mark.parametrize("command", sorted({*documented_blocks(), *documented_mentions()}))
def test_a_command_of_the_documents_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = without_shell(command)
    program = Path(words[0]).name
    if program == "annotator":
        if len(words) == 2 and not words[1].startswith("-"):  # the name alone, in running text
            words.append("--help")
        if any(option in words for option in ("--help", "--version")):
            with pytest.raises(SystemExit) as caught:
                build_parser().parse_args(words[1:])
            assert caught.value.code == 0
        else:
            build_parser().parse_args(words[1:])
    elif program == "make":
        dry = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert dry.returncode == 0, dry.stderr
    elif program.startswith("python") and words[1:2] != ["-m"]:
        assert (ROOT / words[1]).is_file()
    elif program.startswith("python"):
        assert words[2] in {"annotator.cli", "pytest", "venv", "pip"}
    elif program == "torchrun":
        assert words[words.index("-m") + 1] == "annotator.cli"
        build_parser().parse_args(words[words.index("-m") + 2 :])
    else:
        assert program in {"git", "cd", "pip", "apt-get", "sudo", "open", "ray"}, f"what is {program}?"


def test_the_documents_tell_of_every_command() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    (group,) = build_parser()._subparsers._group_actions  # type: ignore[union-attr]
    missing = [name for name in group.choices if f"annotator {name}" not in text]  # type: ignore[union-attr]
    assert missing == []


def test_the_readme_begins_with_the_two_commands() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[:2] == ["make run\n", "make test\n"]


def dry_run(*arguments: str, folder: Path = ROOT) -> str:
    done = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_make_knows_its_targets() -> None:
    for target in (
        "run",
        "test",
        "test-unit",
        "test-integration",
        "test-browser",
        "test-readers",
        "setup",
        "lint",
        "lock",
    ):
        dry_run(target)
    assert "annotator demo" in dry_run("run")
    for group in ("unit", "integration", "browser"):
        assert f"-m {group} " in dry_run(f"test-{group}")
    assert "--need-browser" in dry_run("test", "OPTIONS=--need-browser")


def test_make_installs_the_build_of_pytorch_that_is_asked_for_and_keeps_to_it(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    assert "--index-url" not in dry_run("setup", folder=tmp_path)
    assert re.search(
        r"--index-url \S+/cpu torch==\S+ torchvision==\S+\n", dry_run("setup", "TORCH=cpu", folder=tmp_path)
    )
    stamp, kept = tmp_path / ".venv" / ".installed", tmp_path / ".venv" / ".torch"
    stamp.parent.mkdir()
    for present, other in (("default", "cpu"), ("cpu", "default")):
        kept.write_text(present)
        stamp.touch()
        for same in ((), (f"TORCH={present}",)):
            assert "venv" not in dry_run("setup", *same, folder=tmp_path)
        assert "-m venv --clear .venv" in dry_run("setup", f"TORCH={other}", folder=tmp_path)
        stamp.unlink()
        assert ("--index-url" in dry_run("setup", folder=tmp_path)) == (present == "cpu")


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def wanted_packages() -> list[Requirement]:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = about["optional-dependencies"]
    texts = [*about["dependencies"], *extras["cpu"], *extras["gpu"], *extras["photos"], *extras["dev"]]
    return [Requirement(text) for text in texts]


def test_every_package_is_locked_at_a_version_that_is_allowed() -> None:
    versions = locked()
    for wanted in wanted_packages():
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), wanted
    assert not [version for version in versions.values() if "+" in version]  # 2.14.1 is 2.14.1+cpu too


def test_what_the_packages_need_in_turn_is_locked_too() -> None:
    versions = locked()
    for name in versions:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # the other build of FAISS, or of PyTorch
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in versions, f"{name} needs {need}"


def test_every_installation_of_the_program_uses_the_lock() -> None:
    lines = [*dry_run("setup").splitlines(), *(ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()]
    installing = [line for line in lines if "pip install" in line and '".[' in line.replace('-e ".[', '".[')]
    assert len(installing) >= 1
    assert all("--constraint requirements.lock" in line for line in installing), installing
    assert "requirements.lock" in DEPLOYED_FILES
