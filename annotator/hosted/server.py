"""The composition root of the hosted demo: builds the parts, and serves a private space to each visitor.

What web/server.py is for one project, for many short-lived ones: a visitor's space is an `Workspace` like any other.
"""

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from annotator.auth.roles import LOCAL_USER
from annotator.errors import AnnotatorError
from annotator.hosted.limits import HostedLimits, RateLimiter
from annotator.hosted.middleware import AddressLimit, VisitorRouter
from annotator.hosted.photos import PhotoIntake, read_names
from annotator.hosted.routes import ENTRANCE, PUBLIC_PATHS, UPLOAD_EXTRA_BYTES, UPLOAD_PATH, build_hosted_router
from annotator.hosted.spaces import HostedSpaces, Space
from annotator.hosted.training_queue import TrainingQueue
from annotator.hosted.visit import VisitorAuthenticator, VisitorPictures, VisitorSession, VisitorsProject
from annotator.ingest.pictures import Pictures
from annotator.models.detectors.detector import NONE
from annotator.session.session import Session
from annotator.settings import IngestConfig, LoopSettings, ServerConfig
from annotator.storage.project import Project
from annotator.web.connection_limits import ConnectionLimits, limited_protocol
from annotator.web.request_guard import RequestGuard, Tokens
from annotator.web.routes import build_router
from annotator.web.server import Server, Workspace, address_of, listen, mount_page, new_app, proxy_settings

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 5.0
FIRST_TRAINING_SECONDS = 30.0
"""How long a training is said to take before any was measured."""
LOOP = LoopSettings(train_after=0, least_photos=2, gold_share=0.1)
"""Few photos have to judge; whoever wants a candidate that did not pass can let it propose by hand."""


@dataclass(frozen=True)
class HostedOptions:
    """What a hosted demo is started with."""

    root: Path
    """Folder of all spaces."""
    limits: HostedLimits
    samples: Path | None = None
    """A folder of sample photos; None offers those that come with the packages."""
    frame_ancestors: Sequence[str] = ()
    """Origins whose pages may show this one in a frame."""


class _SpaceProject(Workspace):
    """A visitor's project: what the page keeps asking for is remembered when it is closed."""

    def __init__(self, space: Space[VisitorsProject], limits: HostedLimits) -> None:
        project = Project.open_or_create(space.project_path, "Demo")
        project.update_settings(detector=NONE, loop=LOOP, word_vectors="")
        config = IngestConfig(num_decode_threads=1, num_network_threads=1, batch_size=8)
        super().__init__(
            project, config, {"epochs": limits.training_epochs}, lambda path: read_names(space).get(path, path)
        )
        self._remembered = space.remembered
        self.meanings.start()
        self.session.queue_order.start()

    def close(self) -> None:
        """Close it, so that it can be opened again."""
        self._remembered["state"] = self.session.state(LOCAL_USER)
        self._remembered["models"] = self.models.state()
        super().close()


class HostedDemo:
    """A hosted demo with all its spaces.

    Args:
        options: Where the spaces lie, and their limits.

    Raises:
        ConfigError: The folder of spaces cannot be used.
    """

    def __init__(self, options: HostedOptions) -> None:
        self._options = options
        limits = options.limits
        self.turns = TrainingQueue(FIRST_TRAINING_SECONDS)
        self.spaces: HostedSpaces[VisitorsProject] = HostedSpaces(
            options.root, limits, lambda space: _SpaceProject(space, limits), self._stop
        )
        self._intake = PhotoIntake(limits, options.samples)
        # One space after another: a visitor has few photos, and a network on each processor would slow all down.
        self._reading = ThreadPoolExecutor(1, "read photos")
        self._is_closing = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="sweep", daemon=True)
        self._sweeper.start()

    def build_app(self, config: ServerConfig) -> FastAPI:
        """Build the app: the same routes and page as a project's, on whichever project the visitor has."""
        from annotator.ui.page import ASSETS_PATH

        limits, options = self._options.limits, self._options
        tokens = Tokens(in_frames=bool(options.frame_ancestors))
        session = cast(Session, VisitorSession(limits, self.turns))
        app = new_app()
        app.include_router(build_router(session, cast(Pictures, VisitorPictures()), ASSETS_PATH))
        app.include_router(build_hosted_router(self.spaces, self._intake, self.read_photos, tokens, ASSETS_PATH))
        mount_page(app, session, "Demo - annotator", limits.max_body_bytes)
        calls = RateLimiter(limits.calls_a_second, limits.calls_at_once)
        app.add_middleware(VisitorRouter, spaces=self.spaces, calls=calls)
        app.add_middleware(
            RequestGuard,
            hosts=[config.host, *config.allowed_hosts],
            max_body_bytes=limits.max_body_bytes,
            gate=VisitorAuthenticator(self.spaces),
            tokens=tokens,
            frame_ancestors=options.frame_ancestors,
            entrance=ENTRANCE,
            public_paths=PUBLIC_PATHS,
            body_limits={UPLOAD_PATH: limits.max_photo_bytes + UPLOAD_EXTRA_BYTES},
        )
        app.add_middleware(AddressLimit, limits=limits)
        return app

    def read_photos(self, space: Space[VisitorsProject]) -> None:
        """Let a space's project read its new photos, after those of the spaces that asked before."""
        self._reading.submit(self._read, space)

    def close(self) -> None:
        """End everything in good order; spaces whose time is not over are there again when it is started again."""
        self._is_closing.set()
        self._reading.shutdown(cancel_futures=True)
        for space in self.spaces.present():
            self._stop(space)
        self.turns.close()
        self._intake.close()
        self._sweeper.join()
        self.spaces.close()

    def _read(self, space: Space[VisitorsProject]) -> None:
        try:
            with self.spaces.use(space) as opened:
                cast(Workspace, opened).ingest.run([space.photos_path])
        except AnnotatorError as error:
            logger.warning("Photos of a visitor were not read: %s", error)
        except Exception:
            logger.exception("Photos of a visitor were not read.")

    def _stop(self, space: Space[VisitorsProject]) -> None:
        """Let nothing go on that works for a space."""
        self.turns.leave(space.space_id)
        with self.spaces.use_if_open(space) as opened:
            if opened is not None:
                opened.models.close()

    def _sweep(self) -> None:
        while not self._is_closing.wait(SWEEP_SECONDS):
            try:
                self.spaces.sweep()
            except Exception:
                # Whatever it was, the next visitor's photos must be deleted all the same.
                logger.exception("Spaces that are over could not all be deleted.")


def serve_hosted(options: HostedOptions, config: ServerConfig, on_ready: Callable[[str], None]) -> None:
    """Serve a hosted demo until the process is told to end.

    Args:
        options: Where the spaces lie, and their limits.
        config: Where to listen.
        on_ready: Called with the address once it answers.

    Raises:
        ConfigError: The port is taken, or the folder of spaces cannot be used.
    """
    listener = listen(config)
    demo = HostedDemo(options)
    threadpool_limits(1, user_api="blas")
    try:
        address = address_of(config, listener)
        connections = ConnectionLimits(options.limits.connections_an_address, trusted_proxies=config.trusted_proxies)
        server = Server(
            uvicorn.Config(
                demo.build_app(config),
                log_level="warning",
                lifespan="on",
                timeout_graceful_shutdown=5,
                http=limited_protocol(connections),
                ws="none",
                **proxy_settings(config.trusted_proxies),
            ),
            on_started=lambda: on_ready(address),
        )
        # Uvicorn ends in good order on these signals and then raises them again; by then they have done their work.
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, lambda number, frame: None)
        server.run(sockets=[listener])
    finally:
        demo.close()
        listener.close()
