from typing import Any

import pytest

from annotator.errors import ConfigError
from annotator.settings import IngestConfig, ProjectSettings, ServerConfig


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: IngestConfig(num_decode_threads=0), "num_decode_threads"),
        (lambda: IngestConfig(num_network_threads=65), "num_network_threads"),
        (lambda: IngestConfig(batch_size=0), "batch_size"),
        (lambda: IngestConfig(thumbnail_size=10), "thumbnail_size"),
        (lambda: ServerConfig(port=-1), "port"),
        (lambda: ServerConfig(port=65536), "port"),
        (lambda: ServerConfig(max_body_bytes=1), "max_body_bytes"),
        (lambda: ProjectSettings(name="x", backbone=3), "backbone"),  # type: ignore[arg-type]
    ],
)
def test_a_value_out_of_range_is_refused_by_name(make: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        make()


@pytest.mark.parametrize("name", ["", "  ", None])
def test_a_project_needs_a_name(name: Any) -> None:
    with pytest.raises(ConfigError, match="needs a name"):
        ProjectSettings(name=name)


def test_the_server_binds_to_loopback_unless_told_otherwise() -> None:
    assert ServerConfig().host == "127.0.0.1"
