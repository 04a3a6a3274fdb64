"""Which vision-language model is asked, and its limits. A leaf: the command line uses it without opening a project."""

from dataclasses import dataclass, field

from annotator.models.vision_language.address import Endpoint
from annotator.ranges import check_range


@dataclass(frozen=True)
class VisionConfig:
    """A vision-language model to ask, and limits."""

    url: str
    """Address of an OpenAI-compatible endpoint, such as http://127.0.0.1:11434/v1."""
    model: str
    key: str = field(default="", repr=False)
    """API key; never stored."""
    max_requests: int = 1_000
    """Most questions that this model is asked in the project: all that it ever answered, and those of this start that
    failed."""
    max_tokens: int = 0
    """Most tokens that this model costs in the project, earlier ones included; 0: no limit."""
    max_minutes: float = 0.0
    """Minutes after which this pass stops; 0: no limit."""
    timeout_seconds: float = 120.0
    """Deadline of one question."""

    def __post_init__(self) -> None:
        check_range(self, "max_requests", 1, 100_000_000)
        check_range(self, "max_tokens", 0, 10**12)
        check_range(self, "max_minutes", 0, 1_000_000)
        self.endpoint()

    def endpoint(self) -> Endpoint:
        """Return the endpoint.

        Raises:
            ConfigError: The address, the model's name or the time limit is not allowed.
        """
        return Endpoint(self.url, self.model, self.key, self.timeout_seconds)
