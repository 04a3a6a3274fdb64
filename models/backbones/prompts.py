"""The prompts by which an image-text model is asked for a tag. A leaf: settings use it without loading any library."""

from collections.abc import Sequence

from annotator.errors import ConfigError

DEFAULT_PROMPTS = ("a photo of {}.",)
MAX_PROMPTS = 100
MAX_CHARACTERS = 200


def check_prompts(prompts: Sequence[str]) -> tuple[str, ...]:
    """Return prompts, after checking them.

    Raises:
        ConfigError: There is none or too many, or one is too long or has not exactly one {}.
    """
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise ConfigError(f"There must be 1 to {MAX_PROMPTS} prompts, got {len(prompts)}.")
    for prompt in prompts:
        if not isinstance(prompt, str) or prompt.count("{}") != 1 or len(prompt) > MAX_CHARACTERS:
            raise ConfigError(
                f'The prompt {str(prompt)[:80]!r} must hold {{}} once, for the tag, as "a photo of {{}}."'
            )
    return tuple(prompts)
