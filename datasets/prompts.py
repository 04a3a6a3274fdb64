"""The prompt in what image generators write beside or into a picture, without negative prompt and settings.

As text: Automatic1111 and its relatives, Easy Diffusion, Midjourney, NovelAI. As JSON: also ComfyUI's graph, InvokeAI,
SwarmUI, Draw Things. Knows nothing of files on disk.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

# What generators write after the prompt.
_AFTER_PROMPT = re.compile(
    r"\s*(?:negative[ _]*(?:prompt)?\s*:|(?:num_inference_)?steps\s*:\s*\d+\s*(?:,|$)|sampler(?:[ _]name)?\s*:"
    r"|(?:cfg|guidance)[ _]scale\s*:|seed\s*:|model hash\s*:|size\s*:\s*\d+x\d+|(?:width|height)\s*:\s*\d+\s*$)",
    re.IGNORECASE,
)
_SETTINGS_IN_LINE = re.compile(r"\bnegative[ _]prompt\s*:|\bsteps\s*:\s*\d+\s*,\s*sampler\s*:", re.IGNORECASE)
_HEAD = re.compile(r"\s*(?:/imagine\s+)?(?:positive[ _]*)?prompt\s*:\s*", re.IGNORECASE)
_PARAMETERS_LINE = "parameters"  # Automatic1111 shows the name of the field above its text
_PROMPT_KEYS = ("positive_prompt", "positiveprompt", "prompt", "parameters")
_NESTED_KEYS = ("sui_image_params", "meta", "metadata", "core_metadata")
_MAX_LINKS = 12


def prompt_lines(text: str) -> list[str]:
    """Return the lines before the negative prompt and the settings of a generator, without "Prompt:"."""
    lines: list[str] = []
    is_cut = False
    for line in text.splitlines():
        is_cut = is_cut or _AFTER_PROMPT.match(line) is not None
        if is_cut:
            break
        settings = _SETTINGS_IN_LINE.search(line)
        is_cut = settings is not None
        lines.append(_HEAD.sub("", line[: settings.start()].rstrip() if settings else line, count=1))
    if is_cut and lines and lines[0].strip().casefold() == _PARAMETERS_LINE:
        lines = lines[1:]
    return lines


def prompt_of_json(value: Any) -> str | None:
    """Return the prompt that an object of a generator holds; None if it holds none.

    Args:
        value: Decoded JSON.
    """
    if not isinstance(value, dict):
        return None
    members = {key.casefold(): member for key, member in value.items()}
    for key in _PROMPT_KEYS:
        found = _as_prompt(members.get(key))
        if found is not None:
            return found
    if isinstance(members.get("c"), str) and "uc" in members:  # Draw Things
        return str(members["c"])
    nested = next((found for key in _NESTED_KEYS if (found := prompt_of_json(members.get(key))) is not None), None)
    return nested if nested is not None else _prompt_of_graph(value)


def prompt_in_text(text: str) -> str | None:
    """Return the prompt of a text that is the JSON of a generator; None for other texts."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return prompt_of_json(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _as_prompt(value: Any) -> str | None:
    if isinstance(value, str):
        return "\n".join(prompt_lines(value))
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    return _prompt_of_graph(value) if isinstance(value, dict) else None


def _prompt_of_graph(graph: Mapping[str, Any]) -> str | None:
    """Return the text that leads into an input "positive" of ComfyUI's graph of nodes; None if there is none."""
    for node in graph.values():
        inputs = node.get("inputs") if isinstance(node, dict) and "class_type" in node else None
        if isinstance(inputs, dict) and "positive" in inputs:
            text = _text_of(inputs["positive"], graph)
            if text:
                return text
    return None


def _text_of(value: Any, graph: Mapping[str, Any]) -> str | None:
    for _ in range(_MAX_LINKS):
        if isinstance(value, str):
            return value
        node = graph.get(str(value[0])) if isinstance(value, list) and value else None
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if not isinstance(inputs, dict):
            return None
        value = next((inputs[key] for key in ("text", "text_g", "value", "string", "conditioning", "positive")
                      if key in inputs), None)  # fmt: skip
    return None
