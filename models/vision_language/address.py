"""The address of a vision-language model.

A leaf: the command line uses it without loading a library for pictures or HTTP.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from annotator.errors import ConfigError

KEY_VARIABLE = "ANNOTATOR_VLM_KEY"
"""Environment variable that holds the API key."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked, and how long a request may take.

    Raises:
        ConfigError: The address is not http or https, holds a password, or the key would be sent unencrypted; the
            model has no name; or the time limit is not positive.
    """

    url: str
    """Such as http://127.0.0.1:11434/v1, with or without /chat/completions."""
    model: str
    key: str = field(default="", repr=False)
    """Sent as a bearer token; empty for none."""
    timeout_seconds: float = 120.0
    """Deadline of a request, from connecting to the last byte."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"{self.url[:100]!r} is no address of a vision-language model: {error}.") from error
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(
                f"{self.url[:100]!r} is no address of a vision-language model; write it like http://127.0.0.1:11434/v1."
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                "The address of a vision-language model has no user, password, query or fragment; a key stands in the "
                f"environment variable {KEY_VARIABLE}."
            )
        if not self.model.strip() or len(self.model) > 200:
            raise ConfigError("Name the vision-language model, with at most 200 characters: --vlm-model NAME.")
        if self.key and parts.scheme == "http" and not self.is_local:
            raise ConfigError(
                f"A key is only sent over https or to this machine, but {self.host} is named with http. Use https, or "
                f"unset {KEY_VARIABLE}."
            )
        if not 0 < self.timeout_seconds <= 3600:
            raise ConfigError(f"The time limit of a request is {self.timeout_seconds}; choose 1 to 3600 seconds.")

    @property
    def host(self) -> str:
        """Host and port to which photos are sent."""
        return urlsplit(self.url).netloc

    @property
    def is_local(self) -> bool:
        """Whether the address is one of this machine."""
        name = urlsplit(self.url).hostname or ""
        if name == "localhost":
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def place(self) -> str:
        """The host, and whether it is this machine, in words."""
        return f"{self.host} ({'this machine' if self.is_local else 'ANOTHER MACHINE'})"

    @property
    def address(self) -> str:
        """The address that is asked."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"
