"""Serves one project: binds the port, opens the workspace, ingests in the background, shuts down cleanly."""

import errno
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from annotator.errors import AnnotatorError, ConfigError, DetectorError, RetrievalError, StoreError
from annotator.ingest.vision_config import VisionConfig
from annotator.session.administration import BACKUP_PREFIX
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import IngestConfig, ServerConfig
from annotator.storage.database import SNAPSHOT_PREFIX
from annotator.storage.project import Project, write_atomically
from annotator.storage.temporary_folders import delete_left_over
from annotator.web.app import build_app, check_exposure
from annotator.web.connection_limits import THIS_MACHINE, ConnectionLimits, limited_protocol

logger = logging.getLogger(__name__)


def serve(
    project: Project,
    photos: Sequence[Path] | None,
    config: ServerConfig,
    ingest_config: IngestConfig,
    on_ready: Callable[[str], None],
    vision: VisionConfig | None = None,
) -> None:
    """Serve a project until the process is terminated, ingesting new photos in the background.

    Args:
        project: The folder.
        photos: Folders to search for new photos; None takes those of the project.
        config: Host, port and trusted proxies.
        ingest_config: Threads and sizes.
        on_ready: Called with the page's address once it answers.
        vision: The vision-language model to ask; None: no photo is sent anywhere.

    Raises:
        ConfigError: The port is taken.
        ProjectError: The project cannot be opened or written.
    """
    project.check_writable()
    listener = listen(config)
    workspace = Workspace(project, ingest_config, vision=vision)
    # Left by a server that was killed during a backup; the database is open here and nowhere else.
    for left_over in project.folder.glob(f"{BACKUP_PREFIX}*.tar"):
        left_over.unlink(missing_ok=True)
    for prefix in (BACKUP_PREFIX, SNAPSHOT_PREFIX):
        delete_left_over(project.folder, prefix)
    # A request makes a few small matrix products, for which a thread pool costs more than it saves.
    # Set after the project is open, since only libraries that are already loaded are limited.
    threadpool_limits(1, user_api="blas")
    try:
        check_exposure(config, workspace.accounts)
        app = build_app(Session.over(workspace), config)
        address = address_of(config, listener)
        limits = ConnectionLimits(trusted_proxies=(*THIS_MACHINE, *config.trusted_proxies))
        shown = f"{address}{config.root_path}/" if config.root_path else address
        started = partial(_started, workspace, address, lambda: on_ready(shown))
        server = new_server(app, limits, config.trusted_proxies, started)
        folders = photos if photos is not None else [root for _, root in workspace.store.images.roots()]
        workers = _workers(workspace, folders)
        for worker in workers:
            worker.start()
        threading.Thread(target=workspace.models.keep_watch, name="loop", daemon=True).start()
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
            project.server_path.unlink(missing_ok=True)
    finally:
        workspace.close()
        listener.close()


def _workers(workspace: Workspace, photos: Sequence[Path]) -> list[threading.Thread]:
    """Return the threads of the work that goes on beside the server, without those that would have nothing to do."""
    workers = [threading.Thread(target=_ingest, args=(workspace, photos), name="ingest", daemon=True)]
    if workspace.vision_pass.is_asking:
        workers.append(threading.Thread(target=_ask_about_photos, args=(workspace,), name="vision", daemon=True))
    if workspace.text_pass.has_words:
        workers.append(threading.Thread(target=workspace.text_pass.run, name="text", daemon=True))
    return workers


def _ingest(workspace: Workspace, photos: Sequence[Path]) -> None:
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


def _started(workspace: Workspace, address: str, on_ready: Callable[[], None]) -> None:
    _announce(workspace.project, address, workspace.authenticator.local_secret, on_ready)
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


def proxy_settings(trusted_proxies: Sequence[str]) -> dict[str, Any]:
    """Return Uvicorn's settings for proxies; without any, headers such as X-Forwarded-For are ignored.

    By default Uvicorn trusts those headers from 127.0.0.1, where other users' programs may run.
    """
    return {"proxy_headers": bool(trusted_proxies), "forwarded_allow_ips": ",".join(trusted_proxies)}


def new_server(
    app: FastAPI, limits: ConnectionLimits, trusted_proxies: Sequence[str], on_started: Callable[[], None]
) -> "Server":
    """Return a server of an app.

    Args:
        app: The application.
        limits: Limits of connections.
        trusted_proxies: Addresses or networks of proxies whose headers are trusted.
        on_started: Called once the server answers.
    """
    config = uvicorn.Config(
        app,
        http=limited_protocol(limits),
        ws="none",
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=5,
        **proxy_settings(trusted_proxies),
    )
    return Server(config, on_started)


def end_in_good_order() -> None:
    """Leave SIGINT and SIGTERM to Uvicorn, which shuts down on them and then raises them again.

    By then the shutdown is complete, so this process's own handlers do nothing.
    """
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda number, frame: None)


class Server(uvicorn.Server):
    """Uvicorn's server with a callback once it is started."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, then call `on_started`."""
        await super().startup(sockets)
        if self.started:
            self._on_started()
