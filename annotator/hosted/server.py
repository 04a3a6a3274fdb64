"""Serves the hosted demo: a private space, with a short-lived project, for each visitor."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from annotator.errors import AnnotatorError
from annotator.hosted.dispatch import HostedDispatcher, HostedPictures
from annotator.hosted.limits import HostedLimits, RateLimiter
from annotator.hosted.middleware import AddressLimit, VisitorRouter
from annotator.hosted.open_space import OpenSpace
from annotator.hosted.photos import PhotoIntake
from annotator.hosted.routes import ENTRANCE, PUBLIC_PATHS, UPLOAD_EXTRA_BYTES, UPLOAD_PATH, build_hosted_router
from annotator.hosted.space import Space
from annotator.hosted.spaces import HostedSpaces
from annotator.hosted.training_queue import TrainingQueue
from annotator.hosted.visit import VisitorAuthenticator
from annotator.settings import ObservationConfig, ServerConfig
from annotator.web.app import mount_page, new_app
from annotator.web.connection_limits import ConnectionLimits
from annotator.web.former_paths import FormerPaths
from annotator.web.observation import Observation
from annotator.web.readiness import Readiness
from annotator.web.request_guard import RequestGuard, Tokens
from annotator.web.root_path import RootPath
from annotator.web.routes import build_router
from annotator.web.server import address_of, end_in_good_order, ended_by_signal, listen, new_server
from annotator.web.starting import StartingAnswers

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 5.0
FIRST_TRAINING_SECONDS = 30.0
"""Assumed length of a training until one was measured."""


@dataclass(frozen=True)
class HostedOptions:
    """Options of a hosted demo."""

    root: Path
    """Folder of all spaces."""
    limits: HostedLimits
    samples: Path | None = None
    """A folder of sample photos; None offers those that come with the packages."""
    frame_ancestors: Sequence[str] = ()
    """Origins whose pages may show this one in a frame."""


class HostedDemo:
    """A hosted demo with all its spaces.

    Args:
        options: Folder of the spaces, and their limits.

    Raises:
        ConfigError: The folder of spaces cannot be used.
    """

    def __init__(self, options: HostedOptions) -> None:
        self._options = options
        limits = options.limits
        self.trainings = TrainingQueue(FIRST_TRAINING_SECONDS)
        self.spaces: HostedSpaces[OpenSpace] = HostedSpaces(
            options.root, limits, lambda space: OpenSpace(space, limits, self._root_path), self._stop
        )
        self._root_path = ""
        self._intake = PhotoIntake(limits, options.samples)
        # One space after another: a visitor has few photos, and parallel backbones would slow down every call.
        self._reading = ThreadPoolExecutor(1, "read photos")
        self._is_closing = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="sweep", daemon=True)
        self._sweeper.start()

    def build_app(self, config: ServerConfig, observation: Observation | None = None) -> FastAPI:
        """Build the app: the routes and page of a project, on the project of the visitor who calls."""
        from annotator.ui.page import ASSETS_PATH

        limits, options = self._options.limits, self._options
        self._root_path = config.root_path
        tokens = Tokens(in_frames=bool(options.frame_ancestors), root_path=config.root_path)
        dispatcher = HostedDispatcher(limits, self.trainings)
        app = new_app()
        observation = observation or Observation(readiness=Readiness(self.spaces.problem))
        router = build_router(dispatcher, HostedPictures(), ASSETS_PATH, observation.readiness, observation.pools)
        app.include_router(router)
        app.include_router(build_hosted_router(self.spaces, self._intake, self.read_photos, tokens, ASSETS_PATH))
        mount_page(app, dispatcher, "Demo - annotator", limits.max_body_bytes, config.root_path)
        calls = RateLimiter(limits.calls_a_second, limits.calls_at_once)
        app.add_middleware(VisitorRouter, spaces=self.spaces, calls=calls)
        app.add_middleware(
            RequestGuard,
            hosts=[config.host, *config.allowed_hosts],
            max_body_bytes=limits.max_body_bytes,
            authenticator=VisitorAuthenticator(self.spaces),
            tokens=tokens,
            frame_ancestors=options.frame_ancestors,
            entrance=ENTRANCE,
            public_paths=PUBLIC_PATHS,
            body_limits={UPLOAD_PATH: limits.max_photo_bytes + UPLOAD_EXTRA_BYTES},
            root_path=config.root_path,
        )
        app.add_middleware(FormerPaths)
        app.add_middleware(AddressLimit, limits=limits)
        if config.root_path:
            app.add_middleware(RootPath, root_path=config.root_path)
        return app

    def read_photos(self, space: Space[OpenSpace]) -> None:
        """Queue the ingest of a space's new photos."""
        self._reading.submit(self._read, space)

    def close(self) -> None:
        """Stop all work and close the spaces; those whose time is not over open again after a restart."""
        self._is_closing.set()
        self._reading.shutdown(cancel_futures=True)
        for space in self.spaces.present():
            self._stop(space)
        self.trainings.close()
        self._intake.close()
        self._sweeper.join()
        self.spaces.close()

    def _read(self, space: Space[OpenSpace]) -> None:
        try:
            with self.spaces.use(space) as opened:
                opened.session.workspace.ingest.run([space.photos_path])
        except AnnotatorError as error:
            logger.warning("Photos of a visitor were not read: %s", error)
        except Exception:
            logger.exception("Photos of a visitor were not read.")

    def _stop(self, space: Space[OpenSpace]) -> None:
        """Stop all work for a space."""
        self.trainings.leave(space.space_id)
        with self.spaces.use_if_open(space) as opened:
            if opened is not None:
                opened.session.workspace.models.close()

    def _sweep(self) -> None:
        while not self._is_closing.wait(SWEEP_SECONDS):
            try:
                self.spaces.sweep()
            except Exception:
                # Later spaces must be deleted despite any error.
                logger.exception("Spaces that are over could not all be deleted.")


def serve_hosted(
    options: HostedOptions,
    config: ServerConfig,
    on_ready: Callable[[str], None],
    observed: ObservationConfig | None = None,
) -> None:
    """Serve a hosted demo until the process is told to end.

    Args:
        options: Folder of the spaces, and their limits.
        config: Host, port and trusted proxies.
        on_ready: Called with the address once it answers.
        observed: Whether metrics and traces are wanted.

    Raises:
        ConfigError: The port is taken, or the folder of spaces cannot be used.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(listen(config))
        opening = stack.enter_context(ExitStack())
        opening.enter_context(ended_by_signal())
        opening.enter_context(StartingAnswers(listener, config.root_path))
        demo = HostedDemo(options)
        stack.callback(demo.close)
        observation = Observation(observed, Readiness(demo.spaces.problem), config.allowed_hosts)
        stack.callback(observation.close)
        threadpool_limits(1, user_api="blas")
        address = address_of(config, listener)
        shown = f"{address}{config.root_path}/" if config.root_path else address
        connections = ConnectionLimits(options.limits.connections_an_address, trusted_proxies=config.trusted_proxies)
        app = demo.build_app(config, observation)
        if observation.metrics is not None:
            observation.metrics.count_spaces(lambda: demo.spaces.num_visitors)
        server = new_server(app, connections, config, observation, lambda: on_ready(shown))
        opening.close()
        end_in_good_order()
        server.run(sockets=[listener])
