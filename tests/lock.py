"""Write requirements.lock: the newest versions that pyproject.toml allows, of every package and what it needs.

    make lock

``make setup`` and the Dockerfile install with these versions. The file has no build of PyTorch in it: 2.14.1 is also
2.14.1+cpu. Both FAISS wheels are in it, of which an environment has one.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
EXTRAS = "cpu,photos,dev"
HEAD = """\
# The versions that `make setup` installs, written by `make lock` (tests/lock.py). Refresh it, run all tests, commit it.
"""


def main() -> int:
    """Resolve and write; return pip's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
            "--report", str(report), *sys.argv[1:], f"{ROOT}[{EXTRAS}]",
        ]  # fmt: skip
        code = subprocess.run(command).returncode
        if code:
            return code
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    versions = {_name(item["metadata"]["name"]): item["metadata"]["version"] for item in found}
    del versions["annotator"]
    versions["faiss-gpu"] = versions["faiss-cpu"]
    lines = [f"{name}=={version.partition('+')[0]}\n" for name, version in sorted(versions.items())]
    LOCK.write_text(HEAD + "".join(lines), encoding="utf-8")
    print(f"{LOCK.name}: {len(lines)} packages.")
    return 0


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
