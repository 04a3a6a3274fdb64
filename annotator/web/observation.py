"""What is observed of one server: its readiness, and, if they are asked for, metrics and traces.

The libraries for metrics and traces are extras, and are imported only where they are asked for.
"""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from anyio import to_thread

from annotator.errors import ConfigError
from annotator.session.workspace import Workspace
from annotator.settings import ObservationConfig
from annotator.web.picture_pool import PicturePools
from annotator.web.readiness import Readiness
from annotator.web.recorded_requests import Observer
from annotator.web.request_guard import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from annotator.web.metrics import MetricsListener, ServerMetrics
    from annotator.web.traces import RequestTraces

logger = logging.getLogger(__name__)


class Observation:
    """The observers of one server.

    Args:
        config: What is asked for; None: nothing.
        readiness: Whether the server takes requests; None: as soon as it answers.
        allowed_hosts: Host names under which metrics may be asked for, beside addresses and localhost.

    Raises:
        ConfigError: A package is missing, or metrics cannot be offered at their address.
    """

    def __init__(
        self,
        config: ObservationConfig | None = None,
        readiness: Readiness | None = None,
        allowed_hosts: Sequence[str] = (),
    ) -> None:
        config = config or ObservationConfig()
        self.readiness = readiness or Readiness()
        self.pools = PicturePools()
        self.metrics: ServerMetrics | None = None
        self._traces: RequestTraces | None = None
        self._listener: MetricsListener | None = None
        if config.traces:
            _check_installed("opentelemetry.exporter.otlp.proto.http", "--traces", "telemetry")
            from annotator.web import traces

            self._traces = traces.RequestTraces()
            logger.warning("A span of each request is sent to %s (--traces).", traces.destination())
        if config.metrics is not None:
            _check_installed("prometheus_client", "--metrics", "metrics")
            from annotator.web import metrics

            self._listener = metrics.MetricsListener(config.metrics, allowed_hosts)
            self.metrics = metrics.ServerMetrics(self.readiness, self.pools)
            host = config.metrics[0]
            level = logging.INFO if host in LOOPBACK_HOSTS else logging.WARNING
            logger.log(level, "Everybody who reaches %s port %d may read the metrics.", host, self._listener.port)

    @property
    def metrics_port(self) -> int | None:
        """The port on which metrics are offered; None if they are not."""
        return None if self._listener is None else self._listener.port

    @property
    def observers(self) -> list[Observer]:
        """What is called with each request."""
        found: list[Observer] = []
        if self.metrics is not None:
            found.append(self.metrics.observe)
        if self._traces is not None:
            found.append(self._traces.observe)
        return found

    def watch(self, workspace: Workspace) -> None:
        """Observe an open project too."""
        if self.metrics is not None:
            self.metrics.count_project(workspace)

    def start(self) -> None:
        """Offer metrics from now on; called in the server's event loop."""
        if self.metrics is not None and self._listener is not None:
            self.metrics.count_request_threads(to_thread.current_default_thread_limiter())
            self._listener.start(self.metrics)

    def stop_listening(self) -> None:
        """Offer no metrics any more."""
        if self._listener is not None:
            self._listener.close()

    def close(self) -> None:
        """Offer no metrics any more, and send the last spans."""
        self.stop_listening()
        if self._traces is not None:
            self._traces.close()


def _check_installed(module: str, option: str, extra: str) -> None:
    try:
        is_there = find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        is_there = False
    if not is_there:
        raise ConfigError(f'{option} needs further packages. Run: pip install "annotator[{extra}]"')
