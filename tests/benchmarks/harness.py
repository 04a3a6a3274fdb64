"""What the benchmarks share: a served project, its calls, its CPU time, and tables. Loopback only."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    address: str
    client: httpx.Client
    seconds_to_answer: float
    """From the start of the process to the printed address."""
    html_id: int
    """Id of the page's gr.HTML, whose server functions the page calls."""

    def rest(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Call an operation by its REST route."""
        answer: dict[str, Any] = self.client.post(f"/api/{name}", json=payload).json()
        return answer

    def page(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Call an operation as the page does: by Gradio's server function."""
        body = {"data": payload, "session_hash": "benchmark", "component_id": self.html_id, "fn_name": name}
        answer: dict[str, Any] = self.client.post("/gradio_api/component_server", json=body).json()
        return answer

    def cpu_seconds(self) -> float:
        """CPU the server's process has used so far, all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def wait_until_idle(self, limit_seconds: float = 120.0) -> None:
        """Wait until what it loads in the background is loaded: a second with a tenth of a core at most."""
        ends = time.monotonic() + limit_seconds
        while time.monotonic() < ends:
            before = self.cpu_seconds()
            time.sleep(1)
            if self.cpu_seconds() - before <= 0.1:
                return
        raise RuntimeError(f"after {limit_seconds:g} seconds the server still works by itself")

    def memory_mib(self, kind: str = "VmRSS") -> float:
        """Resident memory of the server's process; with RssAnon without files that are mapped, such as features."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the server's memory cannot be read")


@contextmanager
def served(photos_or_project: Path, *options: str) -> Iterator[Served]:
    """Serve a folder on a free loopback port, as a person would, and end it afterwards."""
    command = [sys.executable, "-m", "annotator.cli", "serve", str(photos_or_project), "--port", "0", *options]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start (exit code {process.wait()})")
        seconds = time.perf_counter() - started
        address = line.split()[-1]
        with httpx.Client(base_url=address, timeout=60) as client:
            token_cookie = client.get("/api/session").json()["token_cookie"]
            client.headers["X-Annotator-Token"] = client.cookies[token_cookie]
            components = client.get("/config").json()["components"]
            html_id = next(part["id"] for part in components if part["type"] == "html")
            yield Served(process, address, client, seconds, html_id)
    finally:
        process.terminate()
        process.wait(timeout=120)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p95 in milliseconds."""
    p50, p95 = np.percentile(np.asarray(seconds) * 1000, [50, 95])
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}


def report(title: str, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows as JSON or as a table, with the machine they were measured on."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    if as_json:
        print(json.dumps({"title": title, "machine": machine, "rows": list(rows)}, indent=2))
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[str(row.get(name, "")) for name in columns] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    print(f"{title} ({machine})")
    for line in [columns, ["-" * width for width in widths], *cells]:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |")
