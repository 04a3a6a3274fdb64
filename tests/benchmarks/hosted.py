"""What a visitor of the hosted demo costs: seconds to open a space, memory of each further one, and of uploads.

python tests/benchmarks/hosted.py [--num 5]

The uploads go to a demo of its own over loopback: 45 at a time of one visitor, then of twelve, each a progressive JPEG
of 39 megapixels (refused, after it was read) or of 25 (taken). Memory is that of the server with all its processes.
"""

import argparse
import io
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from annotator.hosted.limits import HostedLimits
from annotator.hosted.server import HostedDemo, HostedOptions

NUM_UPLOADS = 45
NUM_VISITORS = 12


def memory_mib(pid: int | str = "self") -> float:
    """Memory of a process, in MiB; 0 if it has ended."""
    try:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def memory_of_all_mib(pid: int) -> float:
    """Memory of a process and its children, in MiB."""
    children = [
        child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]  # fmt: skip
    return memory_mib(pid) + sum(memory_mib(child) for child in children)


class Peak:
    """The most memory that a server had while it was watched."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.mib = max(self.mib, memory_of_all_mib(self._pid))


@contextmanager
def served(num_visitors: int) -> Iterator[tuple[str, int]]:
    """Serve a demo; give its address and process id."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "annotator.cli", "serve", "--demo", "--port", "0", "--spaces", f"{folder}/s",
                   "--visitors", str(num_visitors), "--visitors-per-address", str(num_visitors)]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait(60)


def visitor(address: str) -> httpx.Client:
    """Come in."""
    client = httpx.Client(base_url=address, timeout=600, limits=httpx.Limits(max_connections=NUM_UPLOADS))
    client.get("/demo")

    def token() -> str:
        return next(cookie.value or "" for cookie in client.cookies.jar if "token" in cookie.name)

    answer = client.post("/api/demo/enter", json={}, headers={"x-annotator-token": token()})
    assert answer.json() == {"state": "open"}, answer.text
    client.headers["x-annotator-token"] = token()
    return client


def progressive(width: int, height: int, num_bytes: float = 14e6) -> bytes:
    """Return a progressive JPEG of about so many bytes."""
    noise = np.random.default_rng(0).integers(0, 255, (height // 4, width // 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height))
    for quality in range(95, 20, -5):
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality, progressive=True)
        if data.tell() <= num_bytes:
            break
    return data.getvalue()


def uploads(num_visitors: int, megapixels: int, photo: bytes) -> None:
    """Send uploads at a time, shared among visitors; print a row."""
    with served(NUM_VISITORS) as (address, pid):
        clients = [visitor(address) for _ in range(num_visitors)]
        clients[0].post("/api/demo/samples")
        time.sleep(10)  # the samples are read, and the word vectors loaded
        before, began = memory_of_all_mib(pid), time.monotonic()

        def send(number: int) -> int:
            files = {"photo": ("photo.jpg", photo)}
            return clients[number % num_visitors].post("/api/demo/photos", files=files).status_code

        with Peak(pid) as peak, ThreadPoolExecutor(NUM_UPLOADS) as pool:
            codes = Counter(pool.map(send, range(NUM_UPLOADS)))
        seconds = time.monotonic() - began
        time.sleep(5)
        said = " ".join(f"{code}:{num}" for code, num in sorted(codes.items()))
        row = (num_visitors, megapixels, said, f"{seconds:.0f}", f"{before:.0f}", f"{peak.mib:.0f}",
               f"{memory_of_all_mib(pid):.0f}")  # fmt: skip
        print("|", *" | ".join(map(str, row)).split(), "|", flush=True)


def main() -> None:
    """Open spaces with the sample photos one after the other, and print what each took; then what uploads take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=5)
    num = parser.parse_args().num
    photos = {39: progressive(7216, 5412), 25: progressive(5760, 4320)}
    sizes = ", ".join(f"{megapixels} megapixels: {len(data) / 1e6:.1f} MB" for megapixels, data in photos.items())
    print(f"{NUM_UPLOADS} uploads at a time ({sizes})\n\n| visitors | megapixels | answers | seconds | MiB before "
          "| peak | 5 s after |\n| --- | --- | --- | --- | --- | --- | --- |", flush=True)  # fmt: skip
    for num_visitors, megapixels in ((1, 39), (1, 25), (NUM_VISITORS, 25)):
        uploads(num_visitors, megapixels, photos[megapixels])
    del photos
    with tempfile.TemporaryDirectory() as folder:
        limits = HostedLimits(num_visitors=num, num_open=num, visitors_an_address=num)
        demo = HostedDemo(HostedOptions(Path(folder) / "spaces", limits))
        print(f"\nbefore any: {memory_mib():.0f} MiB\n\n| space | seconds | MiB more |\n| --- | --- | --- |")
        for number in range(num):
            before, began = memory_mib(), time.monotonic()
            space = demo.spaces.find(demo.spaces.enter(str(number), "").session_id)
            assert space is not None
            demo._intake.add_samples(space)
            with demo.spaces.use(space) as opened:
                opened.workspace.ingest.run([space.photos_path])  # type: ignore[attr-defined]
                opened.workspace.similar_tags.stop()  # type: ignore[attr-defined]
                opened.navigation.open("local", None)
                print(f"| {number + 1} | {time.monotonic() - began:.1f} | {memory_mib() - before:.0f} |", flush=True)
        demo.close()


if __name__ == "__main__":
    main()
