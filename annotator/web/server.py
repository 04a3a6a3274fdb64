"""The composition root: opens a project, connects the parts, and serves the page.

The only module that knows all the others.
"""

import errno
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from annotator import __version__
from annotator.auth.accounts import Accounts
from annotator.auth.project_auth import ProjectAuthenticator
from annotator.auth.roles import CALLER
from annotator.datasets.metadata_words import caption_words
from annotator.datasets.vocabulary import everyday_words
from annotator.errors import ConfigError, DetectorError, RetrievalError
from annotator.ingest.detection_pass import DetectionPass, wanted_detector
from annotator.ingest.pictures import Pictures
from annotator.ingest.pipeline import Ingest
from annotator.ingest.project_backbone import backbone_options
from annotator.learning.loop import ModelLoop
from annotator.models.backbones.backbone import Backbone, load_backbone
from annotator.models.detectors.detector import NONE
from annotator.models.word_vectors.word_vectors import WordVectors
from annotator.proposals.context import ProjectContext
from annotator.proposals.evidence import Words
from annotator.proposals.heatmap import HeatMapper
from annotator.proposals.proposer import Proposer
from annotator.proposals.tagged_photos import TaggedPhotos
from annotator.proposals.tagger_catalog import TaggerCatalog, default_tagger
from annotator.proposals.vocabulary.lexicon import shared_lexicon
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.proposals.vocabulary.similar_tags import SimilarTags
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings
from annotator.session.operations import OPERATIONS, answer_caller
from annotator.session.session import Session
from annotator.settings import IngestConfig, ServerConfig
from annotator.storage.correction_log import CorrectionLog
from annotator.storage.database import Store
from annotator.storage.detections import DetectionStore
from annotator.storage.features import FeatureStore
from annotator.storage.project import Project, write_atomically
from annotator.web.account_routes import build_account_router
from annotator.web.connection_limits import THIS_MACHINE, ConnectionLimits, limited_protocol
from annotator.web.request_guard import LOOPBACK_HOSTS, RequestGuard, Tokens
from annotator.web.routes import build_router, refuse_malformed

logger = logging.getLogger(__name__)


class Workspace:
    """A project with everything that works on it.

    Args:
        project: The folder.
        ingest_config: Threads and sizes.
        finetune: Settings of trainer/finetune.py that differ from its defaults.
        shown_name: What the page calls a file, by its path below its folder; None shows that path, and where the
            folder lies to whoever is at this machine.

    Raises:
        ProjectError: The database is damaged or in use.
        FeatureMismatchError: The stored features do not fit.
        BackboneError: The project's backbone cannot be loaded.
    """

    def __init__(
        self,
        project: Project,
        ingest_config: IngestConfig | None = None,
        finetune: dict[str, Any] | None = None,
        shown_name: Callable[[str], str] | None = None,
    ) -> None:
        self.project = project
        self._given_name = shown_name
        self._finetune = finetune
        self.ingest_config = ingest_config or IngestConfig()
        self.store = Store(project.database_path)
        try:
            self._connect()
        except BaseException:
            self.store.close()
            raise

    def _connect(self) -> None:
        name = self.project.settings.backbone
        tuned = backbone_options(self.project)
        self.backbone: Backbone = load_backbone(name, num_threads=1, **tuned)
        label = f"{name}-{self.backbone.version}"
        self.features = FeatureStore(
            self.project.features_path,
            label,
            self.backbone.feature_size,
            self.store.images.feature_rows(label),
        )
        shelf = TaggerCatalog(
            self.backbone, self.project.checkpoints_path, self.project.settings.tagger or default_tagger(self.backbone)
        )
        autocomplete = ProjectVocabulary([*everyday_words(), *shelf.cold_start.allowed_words()])

        def use_word_vectors(vectors: WordVectors) -> None:
            shelf.use_word_vectors(vectors, autocomplete.tags_in_use())
            autocomplete.use_lexicon(shared_lexicon(vectors))

        self.meanings = SimilarTags(self.project.settings.word_vectors, use_word_vectors)
        self.looks = self._visual_index(label)
        tagged_looks = VectorIndex(self.backbone.feature_size, VectorIndexSettings(), self.features.vectors, tag=label)
        tagged_words = KeywordIndex()
        carried = TaggedPhotos(self.features, tagged_looks, tagged_words, autocomplete)
        self.log = CorrectionLog(self.store)
        self.accounts = Accounts(self.store)
        self.gate = ProjectAuthenticator(self.accounts)
        carried.load(
            {
                i: Words(tuple(own), tuple(path), caption_words(caption))
                for i, own, path, caption in self.store.images.metadata_words()
            },
            dict(self.log.saved()),
        )
        self.pictures = Pictures(self.project, self.store)
        detector = wanted_detector(self.project.settings.detector)
        book = DetectionStore(self.store, is_read=detector != NONE)
        self.detection_pass = DetectionPass(book, detector, self.pictures.read, self.ingest_config.num_detector_threads)
        self.context = ProjectContext(self.features, tagged_looks, carried)
        suggester = Proposer(
            lambda: shelf.taggers,
            self.features,
            tagged_looks,
            tagged_words,
            carried.tags_of,
            autocomplete,
            self.context.gather,
            detections=book.of,
            opened=shelf.open_vocabulary,
            added=shelf.added_words,
            habits=carried.habits,
        )
        threading.Thread(target=suggester.prepare, name="habits", daemon=True).start()
        self.ingest = Ingest(
            self.project,
            self.store,
            self.features,
            lambda: load_backbone(name, num_threads=self.ingest_config.num_network_threads, **tuned),
            label,
            self.ingest_config,
            lambda images, paths: self.session.add_images(images, paths),
        )
        self.models = ModelLoop(self.project, self.store, shelf, self.backbone, self.features.path, self._finetune)
        self.session = Session(
            self.project,
            self.store,
            self.log,
            self.features,
            self.looks,
            carried,
            suggester,
            autocomplete,
            shelf,
            self.meanings,
            HeatMapper(self.backbone, self.features, self.pictures.decoded),
            lambda: self.ingest.progress,
            self.models,
            self.gate.may_annotate,
            may_review=self.gate.may_review,
            shows_folders=(lambda user: False) if self._given_name else self.gate.shows_folders,
            shown_name=self._given_name or (lambda path: path),
            detections=book.of,
            detection_progress=lambda: self.detection_pass.progress,
        )

    def _visual_index(self, label: str) -> VectorIndex:
        """Read the index of all photos, or build it from the features where the file is missing or does not fit."""
        settings, size = VectorIndexSettings(), self.backbone.feature_size
        ids = self.features.image_ids()
        path = self.project.indexes_path / f"{label}.faiss"
        if path.exists():
            try:
                index = VectorIndex.load(path, size, settings, self.features.vectors, tag=label)
            except RetrievalError as error:
                logger.warning("The index of looks is built anew: %s", error)
            else:
                known = set(index.image_ids().tolist())
                index.remove(sorted(known.difference(ids)))
                missing = sorted(set(ids).difference(known))
                if missing:
                    index.add(missing, self.features.vectors(missing))
                return index
        index = VectorIndex(size, settings, self.features.vectors, tag=label)
        if len(ids) > settings.exact_below:
            index.rebuild(ids)
        elif ids:
            index.add(ids, self.features.vectors(ids))
        return index

    def close(self) -> None:
        """Keep what was expensive to build, and let other processes open the project."""
        self.ingest.stop()
        self.detection_pass.stop()
        self.models.close()
        self.meanings.stop()
        self.context.stop()
        self.session.queue_order.stop()
        try:
            if self.looks.kind != "exact":
                self.project.indexes_path.mkdir(exist_ok=True)
                self.looks.save(
                    self.project.indexes_path / f"{self.project.settings.backbone}-{self.backbone.version}.faiss"
                )
        finally:
            self.store.close()


def build_app(opened: Workspace, config: ServerConfig) -> FastAPI:
    """Build the server's app: REST routes, pictures, and the page that Gradio mounts at the root."""
    # Imported here: only a served project needs Gradio, and importing it takes seconds.
    from annotator.ui.page import ASSETS_PATH

    gate, tokens = opened.gate, Tokens()
    if _is_exposed(config):
        gate.require_login()
    app = new_app()
    app.include_router(build_router(opened.session, opened.pictures, ASSETS_PATH))
    app.include_router(build_account_router(opened.accounts, gate, tokens, ASSETS_PATH))
    mount_page(app, opened.session, f"{opened.project.settings.name} - annotator", config.max_body_bytes)
    hosts = [config.host, *config.allowed_hosts]
    app.add_middleware(RequestGuard, hosts=hosts, max_body_bytes=config.max_body_bytes, gate=gate, tokens=tokens)
    return app


def new_app() -> FastAPI:
    """Return an app without routes that says of every malformed call what is wrong with it."""
    app = FastAPI(title="annotator", version=__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(RequestValidationError, refuse_malformed)
    app.add_exception_handler(HTTPException, refuse_malformed)
    return app


def mount_page(app: FastAPI, session: Session, title: str, max_file_size: int) -> None:
    """Mount the tagging page at an app's root; the routes that the app has already come first."""
    import gradio as gr

    from annotator.ui.page import build_page, page_head

    def operation(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda payload: answer_caller(session, CALLER.get(), name, payload)

    gr.mount_gradio_app(
        app,
        build_page({name: operation(name) for name in OPERATIONS}, title=title),
        path="/",
        footer_links=[],
        show_error=False,
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        max_file_size=max_file_size,
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        head=page_head(),
    )


def serve(
    project: Project,
    photos: Sequence[Path] | None,
    config: ServerConfig,
    ingest_config: IngestConfig,
    on_ready: Callable[[str], None],
) -> None:
    """Serve a project until the process is told to end, ingesting new photos in the background.

    Args:
        project: The folder.
        photos: Folders to look through for new photos; None takes those the project knows.
        config: Where to listen.
        ingest_config: Threads and sizes.
        on_ready: Called with the page's address once it answers.

    Raises:
        ConfigError: The port is taken.
        ProjectError: The project cannot be opened.
    """
    listener = listen(config)
    for left_over in project.folder.glob(".backup-*.tar"):
        left_over.unlink(missing_ok=True)  # of a server that was killed while somebody fetched a backup
    opened = Workspace(project, ingest_config)
    # One request is a few small products; a pool of threads that spin while they wait costs more than it brings.
    # After the project is open: only libraries that are loaded by now are limited.
    threadpool_limits(1, user_api="blas")
    try:
        _check_exposure(config, opened.accounts)
        app = build_app(opened, config)
        address = address_of(config, listener)
        server = Server(
            uvicorn.Config(
                app,
                http=limited_protocol(ConnectionLimits(trusted_proxies=(*THIS_MACHINE, *config.trusted_proxies))),
                ws="none",
                log_level="warning",
                lifespan="on",
                timeout_graceful_shutdown=5,
                **proxy_settings(config.trusted_proxies),
            ),
            on_started=lambda: _started(opened, address, on_ready),
        )
        folders = photos if photos is not None else [root for _, root in opened.store.images.roots() if root.exists()]
        worker = threading.Thread(target=_ingest, args=(opened, folders), name="ingest", daemon=True)
        worker.start()
        threading.Thread(target=opened.models.keep_watch, name="loop", daemon=True).start()
        # Uvicorn ends in good order on these signals and then raises them again; by then they have done their work.
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, lambda number, frame: None)
        try:
            server.run(sockets=[listener])
        finally:
            opened.ingest.stop()
            opened.detection_pass.stop()
            worker.join(timeout=60)
            project.server_path.unlink(missing_ok=True)
    finally:
        opened.close()
        listener.close()


def _ingest(opened: Workspace, photos: Sequence[Path]) -> None:
    try:
        opened.ingest.run(photos)
    except Exception:
        # The page shows the reason (IngestProgress.error); the server goes on with what there is.
        logger.exception("The ingest stopped.")
    try:
        # In the ingest's thread, whose priority is low, and only now: no photo waits for it.
        opened.detection_pass.run()
    except DetectorError as error:
        logger.warning("%s", error)
    except Exception:
        logger.exception("The detector stopped.")


def _is_exposed(config: ServerConfig) -> bool:
    """Tell whether other machines may reach this server, by themselves or through a proxy."""
    return config.host not in LOOPBACK_HOSTS or bool(config.trusted_proxies)


def _check_exposure(config: ServerConfig, accounts: Accounts) -> None:
    """Refuse to open a project to other machines as long as nobody can log in."""
    if not _is_exposed(config) or accounts.is_usable():
        return
    if accounts.is_needed():
        raise ConfigError(
            "Every account of this project is disabled, so nobody could log in. Enable one first "
            "(annotator users PROJECT enable NAME), or serve on 127.0.0.1."
        )
    where = config.host if config.host not in LOOPBACK_HOSTS else "the proxy"
    raise ConfigError(
        f"Without accounts, anybody who reaches {where} could read and change this project. Make one first "
        "(annotator users PROJECT add NAME --role admin), serve a demo (--demo), or serve on 127.0.0.1."
    )


def _started(opened: Workspace, address: str, on_ready: Callable[[str], None]) -> None:
    _announce(opened.project, address, opened.gate.local_secret, on_ready)
    # Not before the page answers: it takes seconds, and only completions and new tags wait for it.
    opened.meanings.start()
    opened.session.queue_order.start()


def _announce(project: Project, address: str, secret: str, on_ready: Callable[[str], None]) -> None:
    values = {"pid": os.getpid(), "address": address, "secret": secret, "started": time.time()}
    write_atomically(project.server_path, json.dumps(values).encode(), mode=0o600)
    on_ready(address)


def listen(config: ServerConfig) -> socket.socket:
    """Bind before anything is loaded, so that a taken port is told at once.

    Raises:
        ConfigError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {config.port} on {config.host} is taken. Choose another with --port, or --port 0 for any."
            ) from error
        raise ConfigError(f"Cannot listen on {config.host} port {config.port}: {error.strerror}.") from error
    return listener


def address_of(config: ServerConfig, listener: socket.socket) -> str:
    """Return the address that a browser on this machine may be given."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{listener.getsockname()[1]}"


def proxy_settings(trusted_proxies: Sequence[str]) -> dict[str, Any]:
    """Return Uvicorn's settings for proxies: without any, headers such as X-Forwarded-For are nobody's word.

    Uvicorn by itself believes whatever comes from 127.0.0.1, where a guesser may be, too.
    """
    return {"proxy_headers": bool(trusted_proxies), "forwarded_allow_ips": ",".join(trusted_proxies)}


class Server(uvicorn.Server):
    """Uvicorn, telling when it answers."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        if self.started:
            self._on_started()
