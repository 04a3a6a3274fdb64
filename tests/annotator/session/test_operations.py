from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.session.operations import OPERATIONS, answer
from annotator.session.requests import Payload
from annotator.session.session import Session

SAVE = {"image_id": 1, "revision": 0, "kept": ["cat"]}


@pytest.fixture
def session(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", [1, 2])
    return open_project(tmp_path / "photos")


def ask(session: Session, name: str, payload: Any) -> dict[str, Any]:
    return answer(session, "local", name, payload)


def test_every_operation_refuses_unknown_fields_and_payloads_that_are_no_object(session: Session) -> None:
    for name in OPERATIONS:
        for payload in ({"surprise": 1}, [], "x", None, 5):
            error = ask(session, name, payload)["error"]
            assert error["kind"] == "request", name
            assert error["message"].startswith(f"The call {name!r} was refused: ")
            assert "\n" not in error["message"]


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("open", {"image_id": "1"}),
        ("open", {"image_id": 1.5}),
        ("open", {"image_id": True}),
        ("open", {"image_id": 0}),
        ("open", {"image_id": -1}),
        ("open", {"image_id": 2**31}),
        ("step", {"image_id": 1}),
        ("step", {"image_id": 1, "by": 2}),
        ("step", {"image_id": 1, "by": 0}),
        ("strip", {"image_id": 1, "num_after": 101}),
        ("strip", {"image_id": 1, "num_before": -1}),
        ("browse", {"limit": 501}),
        ("browse", {"limit": 0}),
        ("browse", {"offset": -1}),
        ("browse", {"state": "some"}),
        ("browse", {"query": "x" * 501}),
        ("browse", {"query": "\ud800"}),
        ("unreadable", {"limit": 1000}),
        ("complete", {"image_id": 1, "text": "x" * 20_001}),
        ("complete", {"image_id": 1, "text": None}),
        ("propose", {"image_id": 1, "kept": "cat"}),
        ("propose", {"image_id": 1, "kept": ["x"] * 1001}),
        ("propose", {"image_id": 1, "kept": [], "revision": 10**30}),
        ("propose", {"image_id": 1, "kept": [], "revision": 2**31}),
        ("save", {**SAVE, "kept": None}),
        ("save", {**SAVE, "kept": [1]}),
        ("save", {**SAVE, "kept": [["cat"]]}),
        ("save", {**SAVE, "revision": -1}),
        ("save", {**SAVE, "revision": "0"}),
        ("save", {**SAVE, "seconds": float("nan")}),
        ("save", {**SAVE, "seconds": float("inf")}),
        ("save", {**SAVE, "seconds": -1.0}),
        ("save", {**SAVE, "num_keys": 10**7}),
        ("save", {**SAVE, "tagger": "x" * 201}),
        ("save", {**SAVE, "tagger": "\udfff"}),
        ("save", {**SAVE, "shown": [{"tag": "a", "score": float("nan"), "source": "looks"}]}),
        ("save", {**SAVE, "shown": [{"tag": "a", "score": 0.5}]}),
        ("save", {**SAVE, "shown": [{"tag": "a", "score": 0.5, "source": "looks", "more": 1}]}),
        ("save", {**SAVE, "shown": [{"tag": "a", "score": 0.5, "source": "looks"}] * 201}),
        ("save", {**SAVE, "actions": [["take", {"a": 1}]]}),
        ("save", {**SAVE, "actions": [["take", float("inf")]]}),
        ("save", {**SAVE, "actions": [["x"]] * 5001}),
        ("save", {"kept": ["cat"]}),
        ("ask", {"people": 21}),
        ("ask", {"people": -1}),
        ("ask", {"people": 2, "share": 1.1}),
        ("ask", {"people": True}),
        ("set_keys", {"keys": {"help": "F1"}}),
        ("set_keys", {"keys": {"help": ["F1"] * 9}}),
        ("set_keys", {"keys": {f"a{number}": ["F1"] for number in range(101)}}),
    ],
)
def test_wrong_types_and_values_out_of_bounds_are_refused(session: Session, name: str, payload: dict[str, Any]) -> None:
    assert ask(session, name, payload)["error"]["kind"] == "request"
    assert ask(session, "history", {"image_id": 1}) == {"events": []}
    assert ask(session, "open", {"image_id": 1})["state"] == "new"


def test_a_refusal_does_not_repeat_what_was_sent(session: Session) -> None:
    message = ask(session, "open", {"image_id": "<script>" * 1000})["error"]["message"]
    assert "<script>" not in message
    assert len(message) < 300


def test_a_save_is_stored_as_it_was_sent(session: Session) -> None:
    payload = {
        **SAVE,
        "dropped": ["dog"],
        "shown": [{"tag": "dog", "score": 1, "source": "looks"}],
        "tagger": "cold_start 1",
        "seconds": 2,
        "num_keys": 3,
        "num_clicks": 1,
        "actions": [["take", "cat", 1], ["move", "cat", 2.5, None]],
    }
    assert ask(session, "save", payload)["revision"] == 1
    (event,) = ask(session, "history", {"image_id": 1})["events"]
    assert event["actions"] == payload["actions"]
    assert event["shown"] == payload["shown"]
    assert (event["num_keys"], event["num_clicks"], event["seconds"]) == (3, 1, 2.0)


@pytest.mark.parametrize(
    ("name", "payload", "kind"),
    [
        ("open", {"image_id": 99}, "unknown_image"),
        ("save", {**SAVE, "revision": 7}, "stale"),
        ("save", {**SAVE, "kept": [""]}, "tag"),
        ("undo", {}, "request"),
        ("set_keys", {"keys": {"help": ["Enter"]}}, "config"),
    ],
)
def test_known_errors_are_answers_with_their_kind(
    session: Session, name: str, payload: dict[str, Any], kind: str
) -> None:
    assert ask(session, name, payload)["error"]["kind"] == kind


def test_a_store_that_fails_is_an_answer_and_other_failures_are_not(session: Session) -> None:
    session.workspace.store.close()
    assert ask(session, "save", SAVE)["error"]["kind"] == "store"
    with pytest.raises(KeyError):
        ask(session, "no_such_operation", {})


def test_the_table_holds_the_operations_of_the_page() -> None:
    assert set(OPERATIONS) >= {
        "state", "open", "step", "skip", "strip", "propose", "complete", "save", "undo", "browse", "unreadable",
        "set_keys",
    }  # fmt: skip
    assert all(issubclass(item.request, Payload) for item in OPERATIONS.values())
    assert all(name == item.name for name, item in OPERATIONS.items())
