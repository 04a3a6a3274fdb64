"""Fixtures for all folders: real photos, one exported backbone a session, projects, the served app.

Every test belongs to exactly one group, a pytest marker that is set here when the tests are collected:

- ``browser``: it uses the fixture ``browser``, if only through another fixture.
- ``integration``: it uses one of `INTEGRATION_FIXTURES`, if only through another fixture; or it starts processes,
  listens on sockets or trains, and its file says ``pytestmark = pytest.mark.integration`` (a single test:
  ``@pytest.mark.integration``).
- ``unit``: all others. A unit test starts no process, listens on no socket and exports no backbone; one that tries
  fails.
"""

import asyncio
import gc
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial, reduce
from multiprocessing.process import BaseProcess
from operator import or_
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import hypothesis
import numpy as np
import pytest
import skimage
import sklearn
from argon2 import PasswordHasher
from fastapi import FastAPI
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from annotator.auth import accounts as accounts_module
from annotator.errors import status_of
from annotator.hosted.dispatch import HostedDispatcher
from annotator.ingest.pipeline import Ingest, NewImage
from annotator.ingest.vision_config import VisionConfig
from annotator.models.backbones import backbone as backbone_module
from annotator.models.backbones import pretrained
from annotator.models.backbones.backbone import Backbone, default_cache_path, load_backbone
from annotator.session import workspace as workspace_module
from annotator.session.answers import ANSWERS
from annotator.session.operations import ProjectDispatcher
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import IngestConfig, ServerConfig
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project
from annotator.web import app as web_app
from annotator.web.description import errors_of

# How long one example takes says how busy the machine is; a test that hangs is ended by pytest-timeout.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"
PHOTOS = {
    "cat.png": SKIMAGE / "chelsea.png",
    "coffee.png": SKIMAGE / "coffee.png",
    "rocket.jpg": SKIMAGE / "rocket.jpg",
    "astronaut.png": SKIMAGE / "astronaut.png",
    "china.jpg": SKLEARN / "china.jpg",
    "flower.jpg": SKLEARN / "flower.jpg",
}


GROUPS = ("unit", "integration", "browser")
INTEGRATION_FIXTURES = frozenset({"backbone_cache", "glove", "mount_disk"})
"""Fixtures that make a test an integration test: the real backbone and what is opened on it, word vectors, a disk."""
NOT_IN_UNIT_TESTS: tuple[tuple[Any, str], ...] = (
    (subprocess.Popen, "__init__"),
    (BaseProcess, "start"),
    (socket.socket, "listen"),
    (backbone_module, "_export"),
)
NO_BROWSER = "browser group not run: "
"""Start of the reason of a skip for lack of a browser."""
BROWSER = pytest.StashKey[Any]()
"""The browser that was found, or a sentence about why there is none."""
ALL_GROUPS = pytest.StashKey[dict[str, list[str]]]()
FIND_BROWSER = Path(__file__).with_name("find_browser.py")
NONE_FOUND = 3
"""The exit code of find_browser.py where there is no browser that works."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")
    parser.addoption("--need-browser", action="store_true", help="fail if the browser group was not run")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # this process reports, alone or for pytest-xdist's workers
        config.pluginmanager.register(GroupReport(config), "groups")


@pytest.hookimpl(tryfirst=True)  # before -m chooses by the markers that are set here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        group = group_of(item)
        if item.get_closest_marker(group) is None:
            item.add_marker(group)
        item.user_properties.append(("group", group))  # travels with the test's report
    config.stash[ALL_GROUPS] = {item.nodeid: marked_groups(item) for item in items}
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Leave the modules and the tests out of every search for circular garbage: they stay, and they are many."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def group_of(item: Any) -> str:
    """Return a test's group: by its marker, else by its fixtures."""
    fixtures = set(item.fixturenames)
    by_fixtures = "browser" if "browser" in fixtures else "integration" if fixtures & INTEGRATION_FIXTURES else "unit"
    marked = marked_groups(item)
    if len(marked) > 1 or (marked and GROUPS.index(marked[0]) < GROUPS.index(by_fixtures)):
        raise pytest.UsageError(f"{item.nodeid} is marked {' and '.join(marked)}; by its fixtures it is {by_fixtures}")
    return marked[0] if marked else by_fixtures


def marked_groups(item: Any) -> list[str]:
    return sorted({mark.name for mark in item.iter_markers()} & {*GROUPS})


@pytest.hookimpl(tryfirst=True)  # before any fixture
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for a browser before the first browser test; where there is none, none of the group is run."""
    if item.get_closest_marker("browser") is None:
        return
    if BROWSER not in item.config.stash:
        done = subprocess.run([sys.executable, FIND_BROWSER], capture_output=True, text=True, timeout=600)
        if done.returncode not in (0, NONE_FOUND):
            pytest.fail(f"{FIND_BROWSER.name} ended with {done.returncode}: {done.stderr}")
        sentence = done.stderr.strip().removeprefix("Browser tests: ")
        item.config.stash[BROWSER] = sentence if done.returncode else json.loads(done.stdout)
    if isinstance(item.config.stash[BROWSER], str):
        pytest.skip(f"{NO_BROWSER}{item.config.stash[BROWSER]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Make a unit test fail that does what its group excludes."""
    if item.get_closest_marker("unit") is None:
        return (yield)
    platform.platform()  # gensim asks for it when it saves vectors; once a process, Python starts the program uname
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in NOT_IN_UNIT_TESTS:
            patch.setattr(owner, name, _refuse)
        return (yield)


def _refuse(*_: Any, **__: Any) -> None:
    # Not an Exception, so that no code under test catches it.
    pytest.fail(
        "a unit test starts no process, listens on no socket and exports no backbone: "
        "use the fixture backbone_cache, or mark it pytest.mark.integration"
    )


class GroupReport:
    """Reports in the last line how many tests of each group were run, and why the browser group was not."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.num_run: Counter[str] = Counter()
        self.no_browser: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        group = dict(report.user_properties).get("group")
        if report.when == "call" and not report.skipped:
            self.num_run[str(group)] += 1
        elif report.skipped and isinstance(report.longrepr, tuple) and NO_BROWSER in report.longrepr[2]:
            self.no_browser.append(report.longrepr[2].partition(NO_BROWSER)[2])

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around the terminal's own, which ends with its summary
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        is_missing = bool(self.no_browser) or not self.num_run["browser"]
        if self.config.getoption("--need-browser") and is_missing and session.exitstatus in (0, 5):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and (self.num_run or self.no_browser):
            terminal.write_line(self.sentence(), red=is_missing and bool(self.no_browser))

    def sentence(self) -> str:
        counts = [f"{group} {self.num_run[group]}" for group in GROUPS if self.num_run[group]]
        if self.no_browser:
            counts.append(f"browser NOT RUN ({len(self.no_browser)} tests): {self.no_browser[0]}")
        elif self.config.getoption("--need-browser") and not self.num_run["browser"]:
            counts.append("browser NOT RUN: no test of it was selected")
        return f"Tests run: {', '.join(counts)}"


@pytest.fixture(scope="session")
def groups(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The names of the groups, every collected test with its own, and how one is found."""
    return SimpleNamespace(names=GROUPS, of_all=request.config.stash[ALL_GROUPS], of=group_of, report=GroupReport)


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The program of a browser that works, and its options."""
    found: dict[str, Any] = request.config.stash[BROWSER]
    return found


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the tests their own folders in place of the user's caches and projects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("OMP_NUM_THREADS", "1")
        # Ingest lowers its thread's priority permanently, and here that thread runs all tests.
        for user in ("ingest.pipeline", "retrieval.vector_index", "session.photo_intake"):
            patch.setattr(f"annotator.{user}.lower_priority", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes() -> Iterator[None]:
    """Give the projects that are opened in this process cheap hashes of passwords; real ones are slow on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        cheap = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(accounts_module, "PasswordHasher", cheap)
        yield


@pytest.fixture(scope="session")
def backbone_cache(_own_folders: None, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The session's own folder of exported backbones; commands in other processes use it too.

    An export takes many seconds, so pytest's cache keeps it for the next session, as long as the code that makes it
    and the packages' versions are the same.
    """
    sources = [Path(module.__file__).read_bytes() for module in (backbone_module, pretrained)]
    versions = [importlib.metadata.version(name) for name in ("torch", "timm", "onnx", "onnxscript", "onnxruntime")]
    digest = hashlib.sha256(b"".join([*sources, *map(str.encode, versions)])).hexdigest()[:16]
    kept, used = Path(request.config.cache.mkdir(f"backbones-{digest}")), default_cache_path()
    shutil.copytree(kept, used, dirs_exist_ok=True)
    yield used
    for path in used.glob("*.npz"):
        if not (kept / path.name).exists():
            shutil.copy2(path, kept / f".{path.name}.{os.getpid()}")
            os.replace(kept / f".{path.name}.{os.getpid()}", kept / path.name)


@pytest.fixture(scope="session")
def backbone(backbone_cache: Path) -> Backbone:
    return load_backbone(device="cpu", num_threads=1, cache_path=backbone_cache)


@pytest.fixture(scope="session")
def demo_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six real photos; to be read only."""
    folder = tmp_path_factory.mktemp("photos")
    for name, source in PHOTOS.items():
        (folder / name).write_bytes(source.read_bytes())
    return folder


@pytest.fixture(scope="session")
def photo_bytes() -> Callable[..., bytes]:
    """Make a file's bytes: a small part of a real photo, another one for each number."""
    sources: list[Image.Image] = []
    for path in PHOTOS.values():
        with Image.open(path) as image:
            sources.append(image.convert("RGB").resize((240, 200)))

    def make(number: int, format: str = "JPEG", **options: Any) -> bytes:
        source = sources[number % len(sources)]
        left, top = (number * 7) % 140, (number * 5) % 110
        file = io.BytesIO()
        source.crop((left, top, left + 96, top + 80)).save(file, format, **options)
        return file.getvalue()

    return make


@pytest.fixture
def write_photos(photo_bytes: Callable[..., bytes]) -> Callable[..., list[Path]]:
    """Write numbered photos into a folder."""

    def write(folder: Path, numbers: Sequence[int]) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"photo {number}.jpg" for number in numbers]
        for path, number in zip(paths, numbers, strict=True):
            path.write_bytes(photo_bytes(number))
        return paths

    return write


class ColourGrid:
    """Mean colours of a 4 x 4 grid as features: a real extractor that takes microseconds. Counts its work."""

    image_size = 32
    feature_size = 48
    version = "colour_grid-1"

    def __init__(self) -> None:
        self.num_extracted = 0

    def preprocess(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX))

    def extract(self, batch: np.ndarray) -> np.ndarray:
        self.num_extracted += len(batch)
        return batch.reshape(len(batch), 4, 8, 4, 8, 3).mean(axis=(2, 4)).reshape(len(batch), 48).astype(np.float32)


@dataclass
class Ingesting:
    """The parts of a project that ingest needs."""

    project: Project
    store: Store
    features: FeatureStore
    extractor: ColourGrid
    ingest: Ingest
    commits: list[tuple[Sequence[NewImage], Sequence[SeenPath]]]

    def run(self, *roots: Path) -> Any:
        return self.ingest.run(list(roots))

    def paths(self) -> dict[str, int | None]:
        """Every path of a file with its image, None for an unreadable one."""
        return dict(self.store.rows("SELECT path, image_id FROM paths WHERE NOT is_gone"))

    def reasons(self) -> dict[str, str]:
        return {Path(path).name: reason for path, reason in self.store.images.unreadable(limit=1000)[1]}


@pytest.fixture
def make_ingesting(tmp_path: Path) -> Iterator[Callable[..., Ingesting]]:
    """Open a project for ingesting; again with the same folder after ``store.close()``."""
    with ExitStack() as stack:

        def make(folder: Path | None = None, **config: Any) -> Ingesting:
            project = Project.open_or_create(folder or tmp_path / "project", "test")
            store = Store(project.database_path)
            stack.callback(store.close)
            extractor = ColourGrid()
            rows = store.images.feature_rows(extractor.version)
            features = FeatureStore(project.features_path, extractor.version, extractor.feature_size, rows)
            commits: list[Any] = []
            ingest = Ingest(
                project,
                store,
                features,
                lambda: extractor,
                extractor.version,
                IngestConfig(**config),
                lambda images, paths: commits.append((images, paths)),
            )
            return Ingesting(project, store, features, extractor, ingest, commits)

        yield make


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Open a database with some images that have no files."""
    with ExitStack() as stack:

        def make(num_images: int = 3, path: Path | None = None) -> Store:
            store = Store(path or tmp_path / "project.duckdb")
            stack.callback(store.close)
            known = set(store.images.ids_by_hash().values())
            images = [(i, image_entry(i)) for i in range(1, num_images + 1) if i not in known]
            if images:
                store.images.add(IngestedBatch(images=images))
            return store

        yield make


def image_entry(number: int, **values: Any) -> ImageEntry:
    return ImageEntry(f"{number:064x}", 640, 480, "JPEG", **values)


@pytest.fixture(scope="session")
def demo_project(
    backbone: Backbone, demo_photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """Return a project that has read the six photos of ``demo_photos``, by its tagger and model; to be copied."""

    @cache
    def make(tagger: str, vlm: str) -> Path:
        project = Project.open_or_create(tmp_path_factory.mktemp("demo") / "project", "test")
        project.update_settings(tagger=tagger, vision_language_model=vlm)
        workspace = Workspace(project)
        workspace.ingest.run([demo_photos])
        workspace.close()
        return project.folder

    return make


@pytest.fixture
def open_project(
    backbone: Backbone,
    demo_photos: Path,
    demo_project: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Session]]:
    """Open a project with the session's backbone, with photos ingested if a folder is given.

    A new project of ``demo_photos`` is a copy of ``demo_project``, which takes less time than to read them.
    """
    monkeypatch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
    with ExitStack() as stack:

        def make(
            photos: Path | None = None,
            folder: Path | None = None,
            tagger: str = "cold_start",
            vlm: str = "",
            vision: VisionConfig | None = None,
        ) -> Session:
            folder = folder or tmp_path / "project"
            if photos == demo_photos and not folder.exists():
                shutil.copytree(demo_project(tagger, vlm), folder)
            project = Project.open_or_create(folder, "test")
            # Not the starter's tagger: these tests do not depend on its quality.
            project.update_settings(tagger=tagger, vision_language_model=vlm)
            opened = Session.over(Workspace(project, vision=vision))
            stack.callback(opened.close)
            if photos is not None:
                opened.workspace.ingest.run([photos])
            return opened

        yield make


@pytest.fixture(scope="session")
def vision() -> Any:
    """The module tests/vision_server.py: a local server in place of a vision-language model."""
    return _module_beside("vision_server")


@pytest.fixture(scope="session")
def tiny_models() -> Any:
    """The module tests/tiny_models.py: small random models of timm and open_clip."""
    return _module_beside("tiny_models")


def _module_beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def run_command(backbone_cache: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``annotator ...`` in a process of its own."""

    def run(*arguments: object, check: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "annotator.cli", *map(os.fspath, map(_text, arguments))]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=check, **options)

    return run


def _text(argument: object) -> str | os.PathLike[str]:
    return argument if isinstance(argument, os.PathLike) else str(argument)


@pytest.fixture(scope="session")
def build_app() -> Callable[..., FastAPI]:
    """Build a project's real app."""

    def build(opened: Session, config: ServerConfig | None = None) -> FastAPI:
        with warnings.catch_warnings():
            # Gradio makes event loops for its locks (safe_get_lock) and never closes them.
            warnings.simplefilter("ignore", ResourceWarning)
            app = web_app.build_app(opened, config or ServerConfig())
            asyncio.set_event_loop(None)
            gc.collect()
        return app

    return build


@pytest.fixture(autouse=True, scope="session")
def misdescribed() -> Iterator[list[str]]:
    """Compare every answer to an operation that any test of this process gets with its description.

    The last test of the process fails with a list of those that differ.
    """
    problems: list[str] = []
    shapes = {name: TypeAdapter(answer) for name, answer in ANSWERS.items()}

    def check(name: str, answer: Any) -> None:
        plain = json.loads(json.dumps(answer))
        try:
            if "error" not in plain:
                shapes[name].validate_python(plain)
                return
            models, _ = errors_of(name)[status_of(plain["error"]["kind"])]
            TypeAdapter(reduce(or_, models)).validate_python(plain)
        except (KeyError, ValidationError) as error:
            problems.append(f"{name}: {str(error)[:1000]}")

    with pytest.MonkeyPatch.context() as patch:
        for dispatcher in (ProjectDispatcher, HostedDispatcher):

            def call(
                self: Any, caller: Any, name: str, payload: object, plain_call: Any = dispatcher.call
            ) -> dict[str, Any]:
                answer: dict[str, Any] = plain_call(self, caller, name, payload)
                check(name, answer)
                return answer

            patch.setattr(dispatcher, "call", call)
        yield problems
    assert problems[:5] == [], "answers are not as annotator/session/answers.py says"


@pytest.fixture
def make_client(
    build_app: Callable[..., FastAPI], open_project: Callable[..., Session]
) -> Iterator[Callable[..., Any]]:
    """Serve a project's real app without a network; the client has the cookies and sends the token."""
    from starlette.testclient import TestClient

    with ExitStack() as stack:

        def make(opened: Session, config: ServerConfig | None = None) -> TestClient:
            app = build_app(opened, config)
            client = stack.enter_context(
                TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=True)
            )
            client.get("/api/session")
            client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
            return client

        yield make


@pytest.fixture
def s3_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty server of S3's protocol on this machine; its address and keys come from the environment."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    _, port = server.get_host_and_port()
    httpx.post(f"http://127.0.0.1:{port}/moto-api/reset")  # all servers of a process have one store
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-test", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield boto3.client("s3")
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
