"""Prometheus metrics of a server, on a listener of their own.

Every label has a fixed set of values: no user, file, tag or address is a label. Knows nothing of what operations do.
"""

import logging
import platform
import shutil
import socket
import threading
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    make_wsgi_app,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from annotator import __version__
from annotator.errors import ConfigError
from annotator.request_record import RequestRecord
from annotator.session.workspace import Workspace
from annotator.web.picture_pool import PicturePools
from annotator.web.readiness import Readiness

logger = logging.getLogger(__name__)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the durations, in seconds."""
CALLER_SECONDS = 10.0
"""For a scraper to send its request and take the answer."""
RUN_STATES = ("running", "promoted", "refused", "waiting", "cancelled", "failed", "interrupted")
"""States of a training (learning/model_registry.py)."""


class ServerMetrics:
    """Counts of one server.

    Args:
        readiness: Whether the server takes requests.
        pools: The threads that make pictures.
    """

    def __init__(self, readiness: Readiness, pools: PicturePools) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        versions = {"version": __version__, "python": platform.python_version()}
        Info("annotator_build", "Versions of the program and of Python", registry=registry).info(versions)
        self._requests = Counter(
            "annotator_requests", "Requests that were answered", ["operation", "status"], registry=registry
        )
        self._seconds = Histogram(
            "annotator_request_duration_seconds", "From a request's headers to the end of its answer", ["operation"],
            buckets=BUCKETS, registry=registry,
        )  # fmt: skip
        self._now = Gauge("annotator_requests_in_progress", "Requests that are being answered", registry=registry)
        self._add("annotator_ready", "Whether the server takes requests", lambda: not readiness.missing())
        self.committed_lists = Counter(
            "annotator_committed_lists", "Lists of tags that were saved, or changed by an undo or an import",
            registry=registry,
        )  # fmt: skip
        pictures = Gauge(
            "annotator_picture_requests", "Pictures that are being made, or wait for a thread", ["kind"],
            registry=registry,
        )  # fmt: skip
        pictures.labels("thumbnail").set_function(lambda: pools.thumbnails.num_now)
        pictures.labels("photo").set_function(lambda: pools.photos.num_now)
        self._add("annotator_picture_bytes_in_flight", "Bytes of pictures that are being sent",
                  lambda: pools.sent.num_bytes)  # fmt: skip
        self._add("annotator_threads", "Threads of the process", threading.active_count)

    def _add(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(value)

    def count_request_threads(self, limiter: Any) -> None:
        """Add the threads that answer requests.

        Args:
            limiter: AnyIO's default limiter of the server's event loop.
        """
        self._add("annotator_request_threads_in_use", "Threads in which a request is being answered",
                  lambda: limiter.borrowed_tokens)  # fmt: skip
        self._add("annotator_request_threads_limit", "Threads that may answer requests; further ones wait",
                  lambda: limiter.total_tokens)  # fmt: skip

    def count_spaces(self, num_spaces: Callable[[], int]) -> None:
        """Add the number of spaces of a hosted demo."""
        self._add("annotator_spaces", "Spaces of visitors", num_spaces)

    def count_project(self, workspace: Workspace) -> None:
        """Add what is known of an open project."""
        workspace.after_commit.listeners.append(self.committed_lists.inc)
        self.registry.register(ProjectCollector(workspace))

    @contextmanager
    def observe(self, record: RequestRecord) -> Iterator[None]:
        """Count one request."""
        self._now.inc()
        try:
            yield
        finally:
            self._now.dec()
            self._requests.labels(record.operation, record.status_class).inc()
            self._seconds.labels(record.operation).observe(record.seconds)


class ProjectCollector(Collector):
    """Reads the state of an open project each time it is asked for.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry need not read the project to know the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._photos()
        yield from self._ingest()
        yield from self._trainings()
        yield from self._disk()

    def _photos(self) -> Iterator[Metric]:
        workspace = self._workspace
        num_saved = workspace.queue.num_saved
        photos = GaugeMetricFamily("annotator_photos", "Photos by state", labels=["state"])
        photos.add_metric(["saved"], num_saved)
        photos.add_metric(["unsaved"], len(workspace.queue) - num_saved)
        photos.add_metric(["unreadable"], workspace.store.images.unreadable(limit=0)[0])
        yield photos
        # Each list of proposals, also of the next photo that the answer to a save brings.
        yield CounterMetricFamily(
            "annotator_proposed_lists", "Lists of proposals that were made", workspace.proposer.num_proposed
        )
        yield GaugeMetricFamily("annotator_open_photos", "Photos that somebody has open", len(workspace.leases.all()))

    def _ingest(self) -> Iterator[Metric]:
        progress = self._workspace.ingest.progress
        yield GaugeMetricFamily("annotator_ingest_running", "Whether photos are being read", progress.running)
        files = GaugeMetricFamily("annotator_ingest_files", "Files of the present or last ingest", labels=["state"])
        files.add_metric(["found"], progress.num_found)
        files.add_metric(["done"], progress.num_done)
        yield files
        yield GaugeMetricFamily("annotator_ingest_failed", "Whether the last ingest stopped before its end",
                                progress.error is not None)  # fmt: skip

    def _trainings(self) -> Iterator[Metric]:
        registry = self._workspace.models.registry
        counts = Counts(registry.num_runs())
        runs = GaugeMetricFamily("annotator_trainings", "Trainings of the project by result", labels=["state"])
        for state in RUN_STATES:
            runs.add_metric([state], counts[state])
        yield runs
        yield GaugeMetricFamily(
            "annotator_model_changes", "How often the model that proposes was changed", len(registry.changes())
        )

    def _disk(self) -> Iterator[Metric]:
        project = self._workspace.project
        sizes = GaugeMetricFamily("annotator_database_bytes", "Size of the database's files", labels=["file"])
        database = project.database_path
        for name, path in (("database", database), ("log", Path(f"{database}.wal"))):
            sizes.add_metric([name], path.stat().st_size if path.exists() else 0)
        yield sizes
        usage = shutil.disk_usage(project.folder)
        yield GaugeMetricFamily("annotator_disk_free_bytes", "Free space on the project's disk", usage.free)


class _Handler(WSGIRequestHandler):
    """Logs nothing, and waits for no slow caller."""

    timeout = CALLER_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class MetricsListener:
    """Answers ``/metrics`` on an address of its own, in threads of its own.

    Args:
        address: Host and port; port 0 takes any free one.
        allowed_hosts: Further host names under which it may be asked.

    Raises:
        ConfigError: It cannot listen there.
    """

    def __init__(self, address: tuple[str, int], allowed_hosts: Sequence[str] = ()) -> None:
        host, port = address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET

        class Listener(ThreadingWSGIServer):
            address_family = family

            def handle_error(self, request: object, client_address: object) -> None:
                """Write no traceback for a caller that is late or goes away."""
                logger.debug("A call of the metrics was not answered.", exc_info=True)

        self._metrics: Callable[..., Iterable[bytes]] | None = None
        self._hosts = {"localhost", host.lower(), *(name.lower() for name in allowed_hosts)}
        try:
            self._server = make_server(host, port, self._answer, Listener, handler_class=_Handler)
        except OSError as error:
            raise ConfigError(
                f"Metrics cannot be offered on {host} port {port}: {error.strerror}. Choose another address with "
                "--metrics HOST:PORT."
            ) from error
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self, metrics: ServerMetrics) -> None:
        """Answer with these metrics from now on."""
        self._metrics = make_wsgi_app(metrics.registry)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert self._metrics is not None  # the thread starts after it is set
        if not self._is_ours(environ.get("HTTP_HOST", "")):
            return _refuse(start_response, "421 Misdirected Request", "Metrics are not answered for this host.")
        if environ["PATH_INFO"] != "/metrics":
            return _refuse(start_response, "404 Not Found", "The metrics are at /metrics.")
        return self._metrics(environ, start_response)

    def _is_ours(self, host: str) -> bool:
        """Return whether a Host header names an address or a known name.

        A page of another site can reach this listener under a name of its own (DNS rebinding), never under an address.
        """
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _refuse(start_response: Callable[..., Any], status: str, sentence: str) -> list[bytes]:
    body = f"{sentence}\n".encode()
    headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
    start_response(status, headers)
    return [body]
