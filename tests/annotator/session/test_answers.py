"""Every operation answers as annotator/session/answers.py describes it; conftest.py compares each answer."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.auth.roles import LOCAL_USER, Caller, Role
from annotator.session.operations import OPERATIONS, ProjectDispatcher
from annotator.session.project_servers import ProjectServers
from annotator.session.session import Session
from annotator.web.description import request_example

TRAINING = {"train_now", "submit_model", "cancel_training", "training_run"}
"""Their answers are checked where trainings are tested, tests/annotator/learning/."""


@pytest.fixture
def opened(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", [1, 2, 3, 4, 5, 6])
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"<html>")
    return open_project(tmp_path / "photos")


def test_every_operation_is_answered_as_described(opened: Session, misdescribed: list[str], tmp_path: Path) -> None:
    # No probe, which would keep a photo from being saved with others.
    opened.workspace.project.update_settings(random_share=0.0, probe_share=0.0)
    dispatcher, local = ProjectDispatcher(opened), Caller(LOCAL_USER, Role.ADMIN)
    answered: set[str] = set()

    def call(name: str, /, **payload: Any) -> dict[str, Any]:
        answer = dispatcher.call(local, name, payload)
        assert "error" not in answer, (name, answer)
        assert misdescribed == []
        answered.add(name)
        return answer

    call("state")
    photo = call("open")
    image_id = photo["image_id"]
    call("step", image_id=image_id, by=1)
    call("strip", image_id=image_id)
    call("browse", query="", limit=10)
    call("open", image_id=image_id)
    call("hold", image_id=image_id)
    call("propose", image_id=image_id, kept=["cat"])
    call("complete", image_id=image_id, text="ca")
    call("explain", image_id=image_id, tag=photo["proposals"][0]["tag"])
    call("heat_map", image_id=image_id, tag=photo["proposals"][0]["tag"])
    call("look_alikes", image_id=image_id)
    call("propose_group", image_id=image_id, kept=["cat"], members=[])
    saved = call(
        "save", image_id=image_id, revision=0, kept=["cat", "sofa"], dropped=["dog"], shown=[], actions=[["x"]]
    )
    call("leave", image_id=saved["next"]["image_id"])
    call("undo")
    call("save", image_id=image_id, revision=2, kept=["Cat", "sofa"])
    call("browse", query="sofa", sort="date")
    call("facets", query="sofa")
    assert image_id in call("found_ids", sort="alike", alike_to=image_id)["image_ids"]
    call("save_search", name="sofas", query="tag:sofa")
    edited = call("edit_tags", photos={"state": "all"}, add=["indoors"], is_dry_run=False)
    call("undo_change", change_id=edited["change_id"])
    put_off = call("put_off", photos={"state": "unsaved"})["image_ids"]
    call("put_off", photos={"image_ids": put_off, "state": "all"}, back=True)
    second = call("skip", image_id=call("open")["image_id"])["image_id"]
    members = [{"image_id": other, "revision": 0} for other in range(1, 7) if other not in (image_id, second)][:1]
    call("save_group", image_id=second, revision=0, kept=["CAT", "lamp"], members=members)
    call("missing_tags", tag="sofa")
    call("tag_details", tag="lamp")
    preview = call("preview_tag_change", kind="rename", old="lamp", new="light")
    call("change_tag", kind="rename", old="lamp", new="light", seen_event=preview["seen_event"])
    call("change_tag", kind="parent", old="cat", new="animal")
    call("list_tags")
    call("tag_changes")
    entries = call("timeline", image_id=image_id)
    call("history", image_id=image_id)
    earlier = next(entry["id"] for entry in entries["entries"] if entry["can_restore"])
    call("restore", image_id=image_id, entry_id=earlier, revision=entries["revision"])
    for name in ("order_rules", "sidecars", "webhooks", "effort_report", "check", "agreement", "models", "unreadable"):
        call(name)
    call("predict_tasks", **request_example(OPERATIONS["predict_tasks"]))
    call("formats")
    call("find_photos", names=["photo 1.jpg", "nowhere"])
    call("preview_export", format="captions", state="all")

    def ended(transfer: dict[str, Any]) -> dict[str, Any]:
        opened.workspace.transfers.get(LOCAL_USER, transfer["transfer_id"]).wait()
        return call("transfer", transfer_id=transfer["transfer_id"])

    written = ended(call("start_export", format="csv"))
    call("cancel_transfer", transfer_id=written["transfer_id"])
    transfer_id = call("begin_import")["transfer_id"]
    opened.importing.target(LOCAL_USER, transfer_id, "tags.csv").write_text("image,tags\nphoto 5.jpg,owl\nx.jpg,y\n")
    assert ended(call("plan_import", transfer_id=transfer_id, format="csv", replaces=True))["num_planned"] == 1
    assert ended(call("carry_out_import", transfer_id=transfer_id))["state"] == "done"
    transfer_id = call("begin_import")["transfer_id"]
    assert ended(call("plan_suggestions", transfer_id=transfer_id, photos={"state": "all"}, least=0.9))["num_left_out"]
    transfer_id = call("begin_import")["transfer_id"]
    chosen = {"photos": {"state": "all"}, "least": 0.05, "kind": "suggested"}
    assert ended(call("plan_suggestions", transfer_id=transfer_id, **chosen))["rows"][0]["thumbnail_url"]
    assert ended(call("carry_out_import", transfer_id=transfer_id))["change_ids"]
    call("changes")
    call("undo_change")
    opened.workspace.project.update_settings(fields=[{"name": "title"}])
    call("set_field", image_id=image_id, field="title", value="A cat")
    call("set_order_rules", pinned=["sofa"])
    call("propose", image_id=image_id, kept=["cat", "sofa"])
    assert call("open", image_id=image_id)["order"]["tags"] == ["sofa", "Cat"]
    call("reorder", most=1)
    assert call("reorder", most=1, is_dry_run=False, photos={"found": {"query": "nowhere"}})["num_photos"] == 0
    call("set_order_rules")
    call("set_tagger", tagger="cold_start")
    call("set_strategy", strategy="in_order")
    call("set_show_expected", shown=True)
    call("set_never_proposed", tag="dog")
    call("set_keys", keys={})
    opened.workspace.project_servers = ProjectServers(opened.workspace.project.folder)
    call("projects")
    call("list_folder", path="/")
    call("open_project", path=str(opened.workspace.project.folder))
    waits = (sys.executable, "-c", "import sys; sys.stdin.read()")
    opened.workspace.project_servers = ProjectServers(opened.workspace.project.folder, waits)
    opened.workspace.project_servers.open(tmp_path, "")
    call("close_project", path=str(tmp_path))
    model_id = call("models")["live_id"]
    call("promote_model", model_id=model_id)
    call("roll_back", model_id=model_id)
    call("set_loop", train_after=0)
    call("end_lease", image_id=image_id)
    call("assign", users=[], image_ids=[image_id], tells_before=True)
    call("review")
    asked = next(item["image_id"] for item in call("browse", state="unsaved")["items"])
    call("ask", people=1, image_ids=[asked])
    call("save", image_id=asked, revision=0, kept=["bird"])
    reviewed = call("review", image_id=asked)
    sent = call("send_back", image_id=asked, revision=reviewed["revision"], note="Look again.")
    assert sent["states"]
    call("open", image_id=asked)
    call("save", image_id=asked, revision=1, kept=["bird", "tree"])
    reviewed = call("review", image_id=asked)
    call("accept", image_id=asked, revision=reviewed["revision"], kept=["bird"])
    call("timeline", image_id=asked)
    call("agreement")
    assert set(OPERATIONS) - answered == TRAINING | {"settle_sidecar"}, (
        "tests/annotator/session/test_sidecars.py settles"
    )
