"""The options for a vision-language model."""

import argparse
from pathlib import Path

import pytest

from annotator.cli.hosted import serve_demo
from annotator.cli.main import build_parser
from annotator.cli.vision import sentence_about, vision_config
from annotator.errors import ConfigError
from annotator.storage.project import Project

URL = "http://127.0.0.1:11434/v1"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open_or_create(tmp_path / "project", "test")


def parse(*options: str) -> argparse.Namespace:
    return build_parser().parse_args(["serve", "photos", *options])


def test_nothing_is_asked_unless_it_is_named(project: Project) -> None:
    assert vision_config(parse(), project) is None
    assert project.settings.vision_language_model == ""


def test_the_project_remembers_whose_answers_it_uses_but_neither_address_nor_key(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOTATOR_VLM_KEY", "secret-key")
    config = vision_config(parse("--vlm", URL, "--vlm-model", "tiny", "--vlm-requests", "7"), project)
    assert config is not None
    assert (config.model, config.key, config.max_requests, config.max_tokens) == ("tiny", "secret-key", 7, 0)
    stored = project.settings_path.read_text()
    assert '"vision_language_model": "tiny"' in stored
    assert "secret-key" not in stored + repr(config)
    assert "11434" not in stored
    assert sentence_about(config) == "Photos are sent to 127.0.0.1:11434 (this machine), to tiny: at most 7 questions."
    # The next start without the address sends nothing and keeps proposing what was answered.
    assert vision_config(parse(), project) is None
    assert project.settings.vision_language_model == "tiny"
    assert vision_config(parse("--vlm", "none"), project) is None
    assert project.settings.vision_language_model == ""


def test_another_machine_is_named_as_such(project: Project) -> None:
    config = vision_config(parse("--vlm", "https://api.example/v1", "--vlm-model", "m"), project)
    assert config is not None
    assert "api.example (ANOTHER MACHINE)" in sentence_about(config)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--vlm", URL], "needs --vlm-model"),
        (["--vlm-model", "tiny"], "--vlm-model needs --vlm URL"),
        (["--vlm", "none", "--vlm-tokens", "9"], "--vlm-tokens needs --vlm URL"),
        (["--vlm", "11434", "--vlm-model", "tiny"], "write it like"),
        (["--vlm", URL, "--vlm-model", "tiny", "--vlm-requests", "0"], "max_requests must lie between"),
        (["--vlm", URL, "--vlm-model", "tiny", "--vlm-timeout", "0"], "time limit"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(project: Project, options: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        vision_config(parse(*options), project)
    assert project.settings.vision_language_model == ""


def test_a_hosted_demo_sends_its_visitors_photos_nowhere() -> None:
    with pytest.raises(ConfigError, match="--vlm does not go with --demo"):
        serve_demo(parse("--demo", "--vlm", URL, "--vlm-model", "tiny"))
