from pathlib import Path
from typing import Any

import pytest

from annotator.cli.main import main
from annotator.hosted import server as hosted_app


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setattr(hosted_app, "serve_hosted", lambda options, config, *rest: calls.append((options, config)))
    return calls


def test_a_demo_needs_no_photos_and_no_accounts(served: list[Any], tmp_path: Path) -> None:
    assert main(["serve", "--demo", "--host", "0.0.0.0", "--allow-host", "demo.example"]) == 0
    ((options, config),) = served
    assert (config.host, config.allowed_hosts) == ("0.0.0.0", ("demo.example",))
    assert (options.samples, options.root.name) == (None, "demo-spaces")


def test_the_options_are_the_limits(served: list[Any], tmp_path: Path) -> None:
    options = ["--visitors", "7", "--visitors-per-address", "3", "--minutes", "5", "--photos-each", "9"]
    more = ["--spaces", str(tmp_path / "spaces"), "--trusted-proxy", "10.0.0.0/8", "--frame-ancestor", "https://a.b"]
    assert main(["serve", str(tmp_path), "--demo", *options, *more]) == 0
    ((given, config),) = served
    limits = given.limits
    assert (limits.num_visitors, limits.visitors_an_address, limits.minutes, limits.num_photos) == (7, 3, 5.0, 9)
    assert (given.samples, given.root) == (tmp_path, tmp_path / "spaces")
    assert (config.trusted_proxies, given.frame_ancestors) == (("10.0.0.0/8",), ("https://a.b",))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Name a folder of photos"),
        (["PHOTOS", "--visitors", "3"], "--visitors is for the hosted demo; add --demo."),
        (["--demo", "--project", "x"], "--project does not go with --demo"),
        (["--demo", "--visitors", "0"], "num_visitors must lie between"),
        (["nowhere", "--demo"], "There is no folder nowhere"),
    ],
)
def test_options_that_exclude_each_other_are_refused_in_a_sentence(
    served: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["serve", *(str(tmp_path) if word == "PHOTOS" else word for word in arguments)]) == 1
    assert sentence in capsys.readouterr().err
    assert served == []
