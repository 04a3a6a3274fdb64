"""Serves one project: binds the port, opens the workspace, ingests in the background, shuts down cleanly."""

import asyncio
import errno
import gc
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from annotator.auth.roles import Role
from annotator.datasets.photo_roots import PhotoRoot
from annotator.errors import AnnotatorError, ConfigError, DetectorError, RetrievalError, StoreError
from annotator.ingest.vision_config import VisionConfig
from annotator.session.administration import BACKUP_PREFIX
from annotator.session.project_servers import ProjectServers
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import IngestConfig, ObservationConfig, ServerConfig
from annotator.storage.database import SNAPSHOT_PREFIX
from annotator.storage.project import Project, write_atomically
from annotator.storage.recent_projects import note_opened, recent_path
from annotator.storage.temporary_folders import delete_left_over
from annotator.web.app import build_app, check_exposure, is_exposed
from annotator.web.connection_limits import THIS_MACHINE, ConnectionLimits, limited_protocol
from annotator.web.observation import Observation
from annotator.web.recorded_requests import RecordedRequests
from annotator.web.starting import StartingAnswers

logger = logging.getLogger(__name__)

FIRST_ADMIN = "admin"
"""Name of the account that is made with the password of a file."""


def serve(
    project: Project,
    photos: Sequence[PhotoRoot] | None,
    config: ServerConfig,
    ingest_config: IngestConfig,
    on_ready: Callable[[str], None],
    vision: VisionConfig | None = None,
    observed: ObservationConfig | None = None,
    admin_password: str = "",
) -> None:
    """Serve a project until the process is terminated, ingesting new photos in the background.

    Args:
        project: The folder.
        photos: Folders to search for new photos; None takes those of the project.
        config: Host, port and trusted proxies.
        ingest_config: Threads and sizes.
        on_ready: Called with the page's address once it answers.
        vision: The vision-language model to ask; None: no photo is sent anywhere.
        observed: Whether metrics and traces are wanted.
        admin_password: Of the account that is made where the project has none; empty: none is made.

    Raises:
        AccountError: The password is too short or too long.
        ConfigError: The port is taken.
        ProjectError: The project cannot be opened or written.
    """
    project.check_writable()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(config))
        observation = Observation(observed, allowed_hosts=config.allowed_hosts)
        stack.callback(observation.close)
        opening = stack.enter_context(ExitStack())
        opening.enter_context(ended_by_signal())
        opening.enter_context(StartingAnswers(listener, config.root_path))
        with _without_collection():
            workspace = Workspace(project, ingest_config, vision=vision)
        stack.callback(workspace.close)
        stack.callback(observation.stop_listening)  # it reads the workspace
        if admin_password and not workspace.accounts.is_needed():
            workspace.accounts.add(FIRST_ADMIN, Role.ADMIN.label, admin_password)
        _delete_left_over(project)
        # A request makes a few small matrix products, for which a thread pool costs more than it saves.
        # Set after the project is open, since only libraries that are already loaded are limited.
        threadpool_limits(1, user_api="blas")
        check_exposure(config, workspace.accounts)
        if opens_projects(config):
            workspace.project_servers = ProjectServers(project.folder)
        with _without_collection():
            app = build_app(Session.over(workspace), config, observation)
        # The modules, the project and the app stay: no later search for circular garbage looks at them.
        gc.freeze()
        observation.watch(workspace)
        folders = photos if photos is not None else [root for _, root in workspace.store.images.roots()]
        address = address_of(config, listener)
        shown = f"{address}{config.root_path}/" if config.root_path else address
        limits = ConnectionLimits(trusted_proxies=(*THIS_MACHINE, *config.trusted_proxies))
        started = partial(_started, workspace, address, folders, lambda: on_ready(shown))
        server = new_server(app, limits, config, observation, started)
        _run(server, workspace, folders, listener, opening)


def _delete_left_over(project: Project) -> None:
    """Delete what a server left that was killed during a backup; the database is open here and nowhere else."""
    for left_over in project.folder.glob(f"{BACKUP_PREFIX}*.tar"):
        left_over.unlink(missing_ok=True)
    for prefix in (BACKUP_PREFIX, SNAPSHOT_PREFIX):
        delete_left_over(project.folder, prefix)


def _run(
    server: "Server", workspace: Workspace, folders: Sequence[PhotoRoot], listener: socket.socket, opening: ExitStack
) -> None:
    """Answer until the process is told to end, with all that goes on beside; then end that too."""
    workers = _workers(workspace, folders)
    for worker in workers:
        worker.start()
    threading.Thread(target=workspace.models.keep_watch, name="loop", daemon=True).start()
    opening.close()
    end_in_good_order()
    try:
        server.run(sockets=[listener])
    finally:
        workspace.ingest.stop()
        workspace.digest_pass.stop()
        workspace.detection_pass.stop()
        workspace.vision_pass.stop()
        workspace.text_pass.stop()
        for worker in workers:
            worker.join(timeout=60)
        workspace.project.server_path.unlink(missing_ok=True)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python's search for circular garbage out while a project is opened or its app is built.

    The objects of a large project are made in one go and stay: the search would look at all of them again and again,
    which takes a third of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _workers(workspace: Workspace, photos: Sequence[PhotoRoot]) -> list[threading.Thread]:
    """Return the threads of the work that goes on beside the server, without those that would have nothing to do."""
    workers = [threading.Thread(target=_ingest, args=(workspace, photos), name="ingest", daemon=True)]
    if workspace.vision_pass.is_asking:
        workers.append(threading.Thread(target=_ask_about_photos, args=(workspace,), name="vision", daemon=True))
    if workspace.text_pass.has_words:
        workers.append(threading.Thread(target=workspace.text_pass.run, name="text", daemon=True))
    return workers


def _ingest(workspace: Workspace, photos: Sequence[PhotoRoot]) -> None:
    try:
        workspace.ingest.run(photos)
    except AnnotatorError as error:
        logger.warning("%s", error)
    except Exception:
        # The page shows the reason (IngestProgress.error); the server continues with the photos it has.
        logger.exception("The ingest stopped.")
    try:
        # In the ingest thread, which has a low priority, and after the ingest, so that no photo waits for it.
        workspace.keep_indexes()  # a server that is killed leaves them for the next start
        workspace.digest_pass.run()
        workspace.check_features()
        workspace.detection_pass.run()
    except (DetectorError, RetrievalError, StoreError) as error:
        logger.warning("%s", error)
    except Exception:
        logger.exception("The work after the ingest stopped.")


def _ask_about_photos(workspace: Workspace) -> None:
    try:
        workspace.vision_pass.run()
    except Exception:
        # The page shows the reason (VisionProgress.error); the server continues with the answers it has.
        logger.exception("The questions to the vision-language model stopped.")


def _started(workspace: Workspace, address: str, folders: Sequence[PhotoRoot], on_ready: Callable[[], None]) -> None:
    _announce(workspace.project, address, workspace.authenticator.local_secret, on_ready)
    try:
        note_opened(workspace.project.folder, workspace.project.settings.name, folders)
    except OSError as error:
        logger.warning("%s cannot be written, so this project is not among the recent ones: %s.", recent_path(), error)
    # Started after the page is reachable: it takes seconds, and only completions and new tags need it.
    workspace.similar_tags.start()
    workspace.scheduler.start()
    for webhook in workspace.webhooks.all():
        logger.warning("Every changed list is sent to %s (annotator webhooks).", webhook.url)
    workspace.start_webhooks()


def _announce(project: Project, address: str, secret: str, on_ready: Callable[[], None]) -> None:
    values = {"pid": os.getpid(), "address": address, "secret": secret, "started": time.time()}
    write_atomically(project.server_path, json.dumps(values).encode(), mode=0o600)
    on_ready()


def opens_projects(config: ServerConfig) -> bool:
    """Return whether other projects may be opened from the page: only where nobody but this machine can reach it.

    A further host name or a prefix says that something stands between the page and its people.
    """
    return not (is_exposed(config) or config.allowed_hosts or config.root_path)


def listen(config: ServerConfig) -> socket.socket:
    """Bind the port before anything is loaded, so that a taken port is reported at once.

    Raises:
        ConfigError: The port is taken, or the address does not belong to this machine.
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
    """Return the URL for a browser on this machine."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{listener.getsockname()[1]}"


def behind_proxies(app: ASGIApp, trusted_proxies: Sequence[str]) -> ASGIApp:
    """Return an app that believes the X-Forwarded-For and -Proto of trusted proxies, and of nobody else.

    By default Uvicorn trusts those headers from 127.0.0.1, where other users' programs may run.
    """
    if not trusted_proxies:
        return app
    return cast("ASGIApp", ProxyHeadersMiddleware(app, list(trusted_proxies)))  # type: ignore[arg-type]


def new_server(
    app: ASGIApp,
    limits: ConnectionLimits,
    config: ServerConfig,
    observation: Observation,
    on_started: Callable[[], None],
) -> "Server":
    """Return a server of an app.

    Args:
        app: The application.
        limits: Limits of connections.
        config: Trusted proxies, prefix, and how long requests may take when it ends.
        observation: Its observers.
        on_started: Called once the server answers.
    """
    trusted = config.trusted_proxies
    requests = RecordedRequests(
        behind_proxies(app, trusted), observation.readiness, trusted, config.root_path, observation.observers
    )
    settings = uvicorn.Config(
        requests,
        http=limited_protocol(limits),
        ws="none",
        log_config=None,
        log_level="warning",
        lifespan="on",
        proxy_headers=False,
        # Requests have had their time by then (Server.shutdown).
        timeout_graceful_shutdown=1,
    )
    return Server(settings, on_started, observation, requests, config.drain_seconds)


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the process in good order while a project is being opened, with exit code 0.

    As the first process of a container it would otherwise not hear SIGTERM at all.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one does not interrupt the way out
        raise SystemExit(0)

    was = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, was)


def end_in_good_order() -> None:
    """Leave SIGINT and SIGTERM to Uvicorn, which shuts down on them and then raises them again.

    By then the shutdown is complete, so this process's own handlers do nothing.
    """
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda number, frame: None)


class Server(uvicorn.Server):
    """Uvicorn's server, which lets requests end before it does.

    Args:
        config: Settings of Uvicorn.
        on_started: Called once it answers.
        observation: Its observers.
        requests: Its outermost layer.
        drain_seconds: How long requests may take when it is told to end.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_started: Callable[[], None],
        observation: Observation,
        requests: RecordedRequests,
        drain_seconds: float,
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._observation = observation
        self._requests = requests
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, then call `on_started`."""
        await super().startup(sockets)
        if self.started:
            self._observation.start()
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new requests, wait for those that are being answered, and end."""
        self._observation.readiness.is_draining = True
        ends = time.monotonic() + self._drain_seconds
        while self._requests.num_in_progress and not self.force_exit and time.monotonic() < ends:
            await asyncio.sleep(0.02)
        left = self._requests.num_in_progress
        if left:
            logger.warning("%d requests were not answered in %g s when the server ended.", left, self._drain_seconds)
        await super().shutdown(sockets)
