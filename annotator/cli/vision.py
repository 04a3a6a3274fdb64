"""The options of `annotator serve` for a vision-language model.

Knows nothing of how a model is asked.
"""

import argparse
import os
from dataclasses import fields
from typing import Any

from annotator.errors import ConfigError
from annotator.ingest.vision_config import VisionConfig
from annotator.models.detectors.detector import NONE
from annotator.models.vision_language.address import KEY_VARIABLE, Endpoint
from annotator.storage.project import Project

VISION_OPTIONS = ("vlm", "vlm_model", "vlm_requests", "vlm_tokens", "vlm_minutes", "vlm_timeout")
NO_MODEL = "--vlm needs --vlm-model NAME, the model to ask there."
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(VisionConfig)}


def add_vision_options(serve: argparse.ArgumentParser) -> None:
    """Add the options to the command `serve`."""
    group = serve.add_argument_group(
        "vision-language model",
        "A further source of proposals, off unless named. Photos are sent to the address, made smaller and without "
        f"metadata, with the project's frequent tags. An API key is read from {KEY_VARIABLE}.",
    )
    group.add_argument("--vlm", metavar="URL",
                       help="an OpenAI-compatible address, such as http://127.0.0.1:11434/v1 of Ollama; needed at "
                       "every start, or nothing is sent; none: earlier answers are not proposed any more")  # fmt: skip
    group.add_argument("--vlm-model", metavar="NAME", help="the model to ask there")
    group.add_argument("--vlm-requests", type=int, metavar="N",
                       help="most questions to this model in this project, those of earlier starts included "
                       f"(default: {_DEFAULTS['max_requests']})")  # fmt: skip
    group.add_argument("--vlm-tokens", type=int, metavar="N",
                       help="most tokens that this model costs in this project (default: no limit)")  # fmt: skip
    group.add_argument("--vlm-minutes", type=float, metavar="N",
                       help="minutes after which no more is asked (default: no limit)")  # fmt: skip
    group.add_argument("--vlm-timeout", type=float, metavar="SECONDS",
                       help=f"longest time of an answer (default: {_DEFAULTS['timeout_seconds']:g})")  # fmt: skip


def add_endpoint_options(suggest: argparse.ArgumentParser) -> None:
    """Add the options to a command that asks about a few photos, without a project."""
    suggest.add_argument("--vlm", metavar="URL",
                         help="ask a vision-language model too: an OpenAI-compatible address, to which the photos are "
                         f"sent; an API key is read from {KEY_VARIABLE}")  # fmt: skip
    suggest.add_argument("--vlm-model", metavar="NAME", help="the model to ask there")
    suggest.add_argument("--vlm-timeout", type=float, metavar="SECONDS",
                         help=f"longest time of an answer (default: {_DEFAULTS['timeout_seconds']:g})")  # fmt: skip


def endpoint_of(parsed: argparse.Namespace) -> Endpoint | None:
    """Return the endpoint of `add_endpoint_options`; None if none is named.

    Raises:
        ConfigError: An option lacks another one, or has a value that it cannot have.
    """
    if parsed.vlm is None:
        for name in ("vlm_model", "vlm_timeout"):
            if getattr(parsed, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} needs --vlm URL, the address of the model.")
        return None
    if parsed.vlm_model is None:
        raise ConfigError(NO_MODEL)
    seconds = float(_DEFAULTS["timeout_seconds"]) if parsed.vlm_timeout is None else parsed.vlm_timeout
    return Endpoint(parsed.vlm, parsed.vlm_model, os.environ.get(KEY_VARIABLE, ""), seconds)


def vision_config(parsed: argparse.Namespace, project: Project) -> VisionConfig | None:
    """Return whom to ask, and store in the project whose answers it uses from now on.

    Raises:
        ConfigError: An option lacks another one, or has a value that it cannot have.
    """
    others = [name for name in VISION_OPTIONS[1:] if getattr(parsed, name) is not None]
    if parsed.vlm in (None, NONE):
        if others:
            raise ConfigError(f"--{others[0].replace('_', '-')} needs --vlm URL, the address of the model.")
        if parsed.vlm == NONE:
            project.update_settings(vision_language_model="")
        return None
    if parsed.vlm_model is None:
        raise ConfigError(NO_MODEL)
    values: dict[str, Any] = {
        "max_requests": parsed.vlm_requests,
        "max_tokens": parsed.vlm_tokens,
        "max_minutes": parsed.vlm_minutes,
        "timeout_seconds": parsed.vlm_timeout,
        "key": os.environ.get(KEY_VARIABLE),
    }
    given = {name: value for name, value in values.items() if value is not None}
    config = VisionConfig(parsed.vlm, parsed.vlm_model, **given)
    project.update_settings(vision_language_model=config.model)
    return config


def sentence_about(config: VisionConfig) -> str:
    """Return what is sent where."""
    endpoint = config.endpoint()
    return f"Photos are sent to {endpoint.place}, to {config.model}: at most {config.max_requests:,} questions."
