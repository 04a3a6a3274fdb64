import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.cli.main import build_parser
from annotator.errors import ConfigError
from annotator.hosted.deployment_files import ROOT, dockerfile_command, try_space, write_space

pytestmark = pytest.mark.integration  # runs the folder that is hosted

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


def test_every_relative_link_in_the_folder_resolves(tmp_path: Path) -> None:
    out = tmp_path / "space"
    write_space(out)
    documents = list(out.rglob("*.md"))
    assert out / "README.md" in documents
    links = [
        (document.relative_to(out), target)
        for document in documents
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target) and not (document.parent / target).exists()
    ]
    assert links == []


def test_the_folder_is_written_again_over_itself_and_over_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "space"
    write_space(out)
    (out / "annotator" / "gone.py").write_text("x")
    write_space(out)
    assert not (out / "annotator" / "gone.py").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="something else"):
        write_space(tmp_path / "thesis")


def test_without_the_source_tree_the_folder_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source tree"):
        write_space(tmp_path / "out", source=tmp_path)


@pytest.fixture
def read_only_space(tmp_path: Path) -> Iterator[Path]:
    """A written folder that cannot be changed, as in the image; for root, whom modes do not stop, by a mount."""
    out = tmp_path / "space"
    write_space(out)
    folders = [out, *(path for path in out.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    mounts = (["--bind", str(out), str(out)], ["-o", "remount,bind,ro", str(out)])
    is_mounted = os.geteuid() == 0 and not any(
        subprocess.run(["mount", *options], capture_output=True).returncode for options in mounts
    )
    yield out
    if is_mounted:
        subprocess.run(["umount", "--lazy", str(out)], check=True)
    for folder in folders:
        folder.chmod(0o700)


def test_the_written_folder_starts_by_the_dockerfile_s_commands_and_stays_unchanged(
    read_only_space: Path, backbone_cache: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in read_only_space.rglob("*")}
    sentence = try_space(read_only_space)
    assert re.fullmatch(
        r"Well after \d+ s; a visitor got a space \(Demo\); ended with code 0\. Not tried: Docker\.", sentence
    )
    # If root cannot mount, unchanged times are the only evidence.
    assert {path: path.stat().st_mtime_ns for path in read_only_space.rglob("*")} == before


def test_a_demo_that_does_not_start_is_reported_with_its_last_line(tmp_path: Path) -> None:
    out = tmp_path / "space"
    out.mkdir()
    (out / "Dockerfile").write_text("HEALTHCHECK CMD false\nCMD echo no room >&2; exit 7\n")
    with pytest.raises(ConfigError, match=r"ended with code 7: no room"):
        try_space(out)


def test_the_image_starts_a_demo_without_root_that_writes_to_one_folder() -> None:
    command = dockerfile_command(DOCKERFILE, "CMD").removeprefix("exec annotator ")
    words = re.sub(r"\$\{SPACE_HOST.*\}", "", command).replace('"', "").replace("$PORT", "7860").split()
    parsed = build_parser().parse_args(words)
    assert (parsed.demo, parsed.host, parsed.port) == (True, "0.0.0.0", 7860)
    assert str(parsed.spaces) == "$DATA/spaces"
    assert "/api/v1/ready" in dockerfile_command(DOCKERFILE, "HEALTHCHECK")
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    with pytest.raises(ConfigError, match="no ENTRYPOINT"):
        dockerfile_command(DOCKERFILE, "ENTRYPOINT")
