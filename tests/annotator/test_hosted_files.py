import re
from pathlib import Path

import pytest

from annotator.cli import build_parser
from annotator.errors import ConfigError
from annotator.hosted_files import ROOT, dockerfile_command, write_space

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_folder_holds_all_that_the_dockerfile_copies(tmp_path: Path) -> None:
    out = tmp_path / "space"
    num_files = write_space(out)
    assert num_files == sum(path.is_file() for path in out.rglob("*"))
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (out / name).exists(), name
            assert f"!{name}" in (out / ".dockerignore").read_text().splitlines()
    assert not list(out.rglob("__pycache__"))
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert re.match(r"---\n.*\nsdk: docker\napp_port: 7860\n.*\n---\n\n# annotator", readme, re.DOTALL)


def test_it_is_written_again_over_itself_and_over_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "space"
    write_space(out)
    (out / "annotator" / "gone.py").write_text("x")
    write_space(out)
    assert not (out / "annotator" / "gone.py").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="something else"):
        write_space(tmp_path / "thesis")


def test_without_the_source_tree_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source tree"):
        write_space(tmp_path / "out", source=tmp_path)


def test_the_image_starts_a_demo_that_needs_no_root_and_writes_to_one_folder() -> None:
    command = dockerfile_command(DOCKERFILE, "CMD").removeprefix("exec annotator ")
    words = re.sub(r"\$\{SPACE_HOST.*\}", "", command).replace('"', "").replace("$PORT", "7860").split()
    parsed = build_parser().parse_args(words)
    assert (parsed.demo, parsed.host, parsed.port) == (True, "0.0.0.0", 7860)
    assert str(parsed.spaces) == "$DATA/spaces"
    assert "/api/health" in dockerfile_command(DOCKERFILE, "HEALTHCHECK")
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    with pytest.raises(ConfigError, match="no ENTRYPOINT"):
        dockerfile_command(DOCKERFILE, "ENTRYPOINT")
