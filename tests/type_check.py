"""Run ``mypy --strict`` over the package as it is when installed: ``python tests/type_check.py [PATH...]``.

mypy cannot follow setuptools' ``package-dir`` in an editable install: there, models/, trainer/ and datasets/ lie beside
annotator/ and become its subpackages only when Python runs annotator/__init__.py. So this makes the installed layout
out of links in a temporary folder. The cache is kept, so that a second run takes seconds.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    """Check everything, or only the named files of the source tree; return mypy's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "annotator"
        package.mkdir()
        for path in (ROOT / "annotator").iterdir():
            if path.name != "__pycache__":
                (package / path.name).symlink_to(path)
        for sister in ("models", "trainer", "datasets"):
            if (ROOT / sister).is_dir():
                (package / sister).symlink_to(ROOT / sister)
        (Path(folder) / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
        command = [
            sys.executable, "-m", "mypy", "--strict", "--namespace-packages", "--explicit-package-bases",
            "--cache-dir", str(ROOT / ".mypy_cache"), *map(_inside, arguments or ["annotator"]),
        ]  # fmt: skip
        return subprocess.run(command, cwd=folder, env=os.environ | {"MYPYPATH": folder}).returncode


def _inside(name: str) -> str:
    """Return where a path of the source tree lies in the installed layout."""
    path = Path(os.path.relpath(Path(name).absolute(), ROOT)) if Path(name).exists() else Path(name)
    return str(path if path.parts[0] == "annotator" else Path("annotator") / path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
