"""A client that openapi-python-client makes from the description: it proposes, saves, and gets a typed stale error."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType
from starlette.testclient import TestClient

from annotator.session.session import Session

NAME = "made_annotator_client"
AS_KNOWN = {
    "application/x-tar": "application/octet-stream",
    "image/jpeg": "application/octet-stream",
    "application/x-ndjson": "text/plain",
}
"""Media type -> one that the generator knows; docs/rest.md says the same."""


@pytest.fixture
def served(
    make_client: Callable[..., TestClient],
    open_project: Callable[..., Session],
    write_photos: Callable[..., Any],
    tmp_path: Path,
) -> TestClient:
    write_photos(tmp_path / "photos", [1, 2])
    return make_client(open_project(tmp_path / "photos"))


@pytest.fixture
def made(served: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The generated package."""
    source = tmp_path / "openapi.json"
    source.write_bytes(served.get("/api/v1/openapi.json").content)
    settings = ConfigFile(package_name_override=NAME, post_hooks=[], content_type_overrides=AS_KNOWN)
    config = Config.from_sources(
        settings, MetaType.NONE, source, file_encoding="utf-8", overwrite=False, output_path=tmp_path / NAME
    )
    assert [error.detail for error in generate(config=config)] == []
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(NAME)
    for module in [name for name in sys.modules if name == NAME or name.startswith(f"{NAME}.")]:
        del sys.modules[module]


def test_a_generated_client_proposes_saves_and_gets_a_typed_stale_error(made: ModuleType, served: TestClient) -> None:
    models = importlib.import_module(f"{NAME}.models")

    def operation(name: str) -> Any:
        return importlib.import_module(f"{NAME}.api.operations.{name}").sync

    client = made.Client(base_url="http://127.0.0.1:7860").set_httpx_client(served)

    photo = operation("open_")(client=client, body=models.OpenRequest(image_id=1))
    assert isinstance(photo, models.Photo)
    assert photo.revision == 0
    asked = models.ProposeRequest(image_id=photo.image_id, kept=["cat"], revision=photo.revision)
    proposed = operation("propose")(client=client, body=asked)
    assert isinstance(proposed, models.Proposals)
    assert all(isinstance(item, models.ProposedTag) for item in proposed.proposals)

    saved = models.SaveOneRequest(image_id=photo.image_id, kept=["cat", "sofa"], revision=photo.revision)
    answer = operation("save")(client=client, body=saved)
    assert isinstance(answer, models.SavedList)
    assert (answer.revision, answer.next_.image_id) == (1, 2)

    stale = operation("save")(client=client, body=saved)
    assert isinstance(stale, models.StaleErrorAnswer)
    assert (stale.error.kind, stale.error.revision, stale.error.tags) == ("stale", 1, ["cat", "sofa"])
    assert stale.error.saved_at

    unknown = operation("open_")(client=client, body=models.OpenRequest(image_id=99))
    assert isinstance(unknown, models.UnknownImageErrorAnswer)
    invalid = models.SaveOneRequest(image_id=2, kept=["a\0"], revision=0)
    assert isinstance(operation("save")(client=client, body=invalid), models.InvalidErrorAnswer)


def test_every_operation_has_a_function_in_the_generated_client(made: ModuleType, served: TestClient) -> None:
    from annotator.session.operations import OPERATIONS

    found = {path.stem.rstrip("_") for path in (Path(str(made.__file__)).parent / "api" / "operations").glob("*.py")}
    assert set(OPERATIONS) <= found
