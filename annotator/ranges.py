"""The range check of settings. A leaf like errors.py: every folder may import it."""

from annotator.errors import ConfigError


def check_range(owner: object, name: str, low: float, high: float, *, label: str = "") -> None:
    """Refuse a setting outside [low, high]; NaN is outside of every range.

    Args:
        owner: The configuration object.
        name: The attribute that holds the setting.
        low: Least value.
        high: Largest value.
        label: What the message calls the setting; empty: its name.

    Raises:
        ConfigError: The value is outside.
    """
    value = getattr(owner, name)
    if not low <= value <= high:
        raise ConfigError(f"{label or name} must lie between {low:g} and {high:g}, got {value!r}.")
