"""What a visitor of the hosted demo costs: seconds to open a space, memory of each further one.

python tests/benchmarks/hosted.py [--num 5]
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

from annotator.hosted_app import HostedDemo, HostedOptions
from annotator.hosted_limits import HostedLimits


def memory_mib() -> float:
    """Memory of this process, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    """Open spaces with the sample photos one after the other, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=5)
    num = parser.parse_args().num
    with tempfile.TemporaryDirectory() as folder:
        limits = HostedLimits(num_visitors=num, num_open=num, visitors_an_address=num)
        demo = HostedDemo(HostedOptions(Path(folder) / "spaces", limits))
        print(f"before any: {memory_mib():.0f} MiB\n\n| space | seconds | MiB more |\n| --- | --- | --- |")
        for number in range(num):
            before, began = memory_mib(), time.monotonic()
            space = demo.spaces.find(demo.spaces.enter(str(number), "").session_id)
            assert space is not None
            demo._intake.add_samples(space)
            with demo.spaces.use(space) as opened:
                opened.ingest.run([space.photos_path])  # type: ignore[attr-defined]
                opened.meanings.stop()  # type: ignore[attr-defined]
                opened.session.open("local", None)
                print(f"| {number + 1} | {time.monotonic() - began:.1f} | {memory_mib() - before:.0f} |", flush=True)
        demo.close()


if __name__ == "__main__":
    main()
