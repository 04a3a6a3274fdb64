"""Writes the folder that a Docker host or a Hugging Face Space builds, and tries it without Docker.

The trial runs the commands of the Dockerfile from the copied tree. Knows nothing of how the demo works.
"""

import http.cookiejar
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from annotator.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("annotator", "models", "trainer", "datasets")
FILES = ("pyproject.toml", "requirements.lock", "LICENSE", "Dockerfile", ".dockerignore")
MARK_FILE = ".annotator-space"
FROM_A_NEW_SPACE = {".git", ".gitattributes", "README.md"}
"""Files of a newly created Space's repository."""
FRONT_MATTER = """---
title: annotator
emoji: 🏷️
colorFrom: blue
colorTo: green
sdk: docker
app_port: 7860
license: mit
short_description: Rank the tags of your photos, with a model in the loop
---

"""
README = """# annotator

Rank the tags of your photos, with a model in the loop. This folder hosts the demo: each visitor gets a private space
for a limited time, uploads a few photos, tags them with the help of a model, trains it on the corrections, and exports
the tags. The space, with its photos, tags and models, is then deleted.

A Hugging Face Space with the SDK docker builds the folder as it is. Any other host:

    docker build -t annotator-demo .
    docker run -p 7860:7860 annotator-demo

The page then answers on port 7860. The folder was written by `annotator space`, from annotator's source tree, whose
README and documents describe everything else. Licence: MIT, in the file LICENSE.
"""
"""Of the written folder; that of the source tree links to documents that are not part of it."""
LARGE_FILES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.npz filter=lfs diff=lfs merge=lfs -text\n"
START_SECONDS = 180.0


def write_space(out: Path, source: Path = ROOT) -> int:
    """Write the folder anew; return how many files it has.

    Args:
        out: A new or empty folder, a Space's fresh clone, or a folder that was written before.
        source: The source tree.

    Raises:
        ConfigError: The folder holds something else, or this is an installation without the source tree.
    """
    out = out.expanduser().resolve()
    missing = [name for name in (*FOLDERS, *FILES) if not (source / name).exists()]
    if missing:
        raise ConfigError(f"{source} has no {missing[0]}: this command needs annotator's source tree (git clone).")
    present = {path.name for path in out.iterdir()} if out.exists() else set()
    if MARK_FILE not in present and not present <= FROM_A_NEW_SPACE:
        raise ConfigError(f"{out} holds something else. Name a new or empty folder, or the clone of a new Space.")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK_FILE).write_text("Written by `annotator space`; what lies here is written over.\n", encoding="utf-8")
    for name in FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
        shutil.copytree(source / name, out / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
    for name in FILES:
        shutil.copyfile(source / name, out / name)
    (out / "README.md").write_text(FRONT_MATTER + README, encoding="utf-8")
    (out / ".gitattributes").write_text(LARGE_FILES, encoding="utf-8")
    return sum(path.is_file() and ".git" not in path.parts for path in out.rglob("*"))


def dockerfile_command(text: str, instruction: str) -> str:
    """Return the command of a Dockerfile's CMD or HEALTHCHECK.

    Raises:
        ConfigError: The Dockerfile has none.
    """
    found = re.findall(rf"^{instruction}\b(?: --\S+)*(?: CMD)? (.+)$", text, re.MULTILINE)
    if not found:
        raise ConfigError(f"The Dockerfile has no {instruction}.")
    return str(found[-1])


def try_space(out: Path) -> str:
    """Start the copied tree by the Dockerfile's CMD, wait for its HEALTHCHECK, open a space, and end it.

    Uses this Python and its packages, and the user's cache of exported networks, in place of those in the image.

    Returns:
        One sentence about the outcome.

    Raises:
        ConfigError: It did not start, or failed its health check.
    """
    out = out.expanduser().resolve()
    text = (out / "Dockerfile").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="annotator-space-") as name:
        folder = Path(name)
        environment = _environment(out, folder)
        began = time.monotonic()
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", dockerfile_command(text, "CMD")], cwd=folder, env=environment, stdout=log, stderr=log
            )
        try:
            _wait_until_well(process, dockerfile_command(text, "HEALTHCHECK"), environment, folder / "log.txt")
            seconds = time.monotonic() - began
            project = _visit(f"http://127.0.0.1:{environment['PORT']}")
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return (
            f"Well after {seconds:.0f} s; a visitor got a space ({project}); ended with code {code}. Not tried: Docker."
        )


def _environment(out: Path, folder: Path) -> dict[str, str]:
    """Return an environment like the image's: the copied tree's `annotator` on the path, one writable folder."""
    (folder / "bin").mkdir()
    (folder / "data").mkdir()
    program = folder / "bin" / "annotator"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m annotator.cli.main "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    (folder / "bin" / "python").symlink_to(sys.executable)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {key: os.environ[key] for key in ("HOME", "XDG_CACHE_HOME", "LANG") if key in os.environ}
    path = f"{folder / 'bin'}:{os.environ.get('PATH', '')}"
    return {**kept, "PATH": path, "PYTHONPATH": str(out), "DATA": str(folder / "data"), "PORT": str(port),
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip


def _wait_until_well(process: "subprocess.Popen[bytes]", check: str, environment: dict[str, str], log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while subprocess.run(["sh", "-c", check], env=environment, capture_output=True, timeout=60).returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        if process.poll() is not None:
            raise ConfigError(f"The demo ended with code {process.returncode}: {' '.join(last)}")
        if time.monotonic() > ends:
            raise ConfigError(f"The demo was not well after {START_SECONDS:.0f} s: {' '.join(last)}")
        time.sleep(0.5)


def _visit(address: str) -> str:
    """Open a space as a visitor; return the name of its project."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar))

    def call(path: str) -> dict[str, object]:
        token = next(cookie.value or "" for cookie in jar if cookie.name.startswith("annotator_token"))
        headers = {"X-Annotator-Token": token, "Content-Type": "application/json"}
        with opener.open(urllib.request.Request(address + path, b"{}", headers), timeout=60) as answer:
            values: dict[str, object] = json.load(answer)
        return values

    opener.open(f"{address}/demo", timeout=60).close()
    if call("/api/v1/demo/enter") != {"state": "open"}:
        raise ConfigError("The demo let no visitor in.")
    return str(call("/api/v1/state")["project"])
