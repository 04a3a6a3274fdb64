"""Navigation between photos: the next one, the neighbours in folder order, the strip, the browse view."""

import logging
from dataclasses import asdict

import numpy as np

from annotator import __version__
from annotator.active_learning.queue import Ids
from annotator.json_types import JsonObject
from annotator.session.photo_view import PhotoView
from annotator.session.search_terms import TagsOfTerms
from annotator.session.workspace import Workspace
from annotator.storage.features import most_alike
from annotator.storage.sidecar_states import CHANGED, FAILED

logger = logging.getLogger(__name__)


class Navigation:
    """Opens photos, and returns the project's progress.

    Args:
        workspace: The open project.
        view: Answers about photos.
    """

    def __init__(self, workspace: Workspace, view: PhotoView) -> None:
        self._workspace = workspace
        self._access = workspace.access
        self._view = view

    def state(self, user: str) -> JsonObject:
        """Return the project's name, counts, ingest progress and keys."""
        workspace = self._workspace
        settings = workspace.project.settings
        ingest = asdict(workspace.ingest.progress)  # read first: once ingest has ended, the counts below are complete
        if not workspace.shows_folders(user):
            ingest["not_mounted"] = [item | {"folder": ""} for item in ingest["not_mounted"]]
        queue, rules = workspace.queue, workspace.review_rules
        return {
            "project": settings.name,
            "num_images": len(queue),
            "num_saved": queue.num_saved,
            "num_unreadable": workspace.store.images.unreadable(limit=0)[0],
            "unread_types": workspace.store.images.unread_types(),
            "ingest": ingest,
            "detections": asdict(workspace.detection_pass.progress),
            "vlm": asdict(workspace.vision_pass.progress),
            "text": asdict(workspace.text_pass.progress),
            "notices": workspace.notices(user),
            "backbone": workspace.project.settings.backbone,
            "keys": {action: list(keys) for action, keys in settings.keys.items()},
            "show_expected": settings.show_expected,
            "never_proposed": list(settings.never_proposed),
            "saved_searches": settings.saved_searches,
            "user": user,
            "may_annotate": workspace.may_annotate(user),
            "may_review": rules.may_review(user),
            "may_administer": workspace.authenticator.may_administer(user),
            "may_open_projects": workspace.may_open_projects(user),
            "states": {
                **rules.counts(user, len(queue), queue.num_saved, queue.is_saved),
                "empty": workspace.log.num_without_tags(),
                "changed": workspace.store.images.num_changed(),
            },
            "tagger": workspace.catalog.chosen,
            "taggers": [asdict(choice) for choice in workspace.catalog.choices()],
            "word_vectors": workspace.similar_tags.describe(),
            "tags_without_vector": workspace.similar_tags.describe_unknown(workspace.ranking.vocabulary.tags_in_use()),
            "queue": workspace.scheduler.describe(),
            "sidecars": self._sidecars(),
            "version": __version__,
        }

    def _sidecars(self) -> JsonObject | None:
        """Return how many sidecars were changed by other programs or could not be written; None if none are kept."""
        if self._workspace.sidecars is None:
            return None
        counts = self._workspace.sidecar_states.counts()
        return {"num_changed": counts.get(CHANGED, 0), "num_failed": counts.get(FAILED, 0)}

    def open(self, user: str, image_id: int | None) -> JsonObject:
        """Return a photo with its proposals; None opens the one to work on now."""
        if image_id is None:
            queue = self._workspace.queue
            newest = self._workspace.responses.taken_back(user) or self._workspace.log.newest_image(user)
            if newest is not None and newest not in queue:
                newest = None
            # The photo is not saved: it is the one whose save was just taken back.
            is_free = self._access.is_free_for(user)
            if newest is None or not (queue.is_open(newest) and is_free(newest)):
                return self.following_photo(user, newest)
            image_id = newest
        return self._view.photo(user, image_id)

    def hold(self, user: str, image_id: int) -> JsonObject:
        """Renew the user's lease of a photo.

        Raises:
            LeaseError: Somebody else has this photo open.
            ReviewError: This user cannot change it now.
        """
        self._access.check(image_id)
        self._access.check_unlocked(user, image_id)
        self._access.hold(user, image_id)
        return {}

    def leave(self, user: str, image_id: int) -> JsonObject:
        """End the user's lease of a photo."""
        self._access.check(image_id)
        self._workspace.leases.give_back(image_id, user)
        return {}

    def step(self, user: str, image_id: int, by: int) -> JsonObject:
        """Return the previous or next photo in folder order, in any state; at either end, the same photo."""
        self._access.check(image_id)
        self._workspace.leases.give_back(image_id, user)
        queue = self._workspace.queue
        position = min(max(queue.position(image_id) + by, 0), len(queue) - 1)
        return self._view.photo(user, queue.at(position))

    def skip(self, user: str, image_id: int) -> JsonObject:
        """Skip a photo until no other is left, and return the next one."""
        self._access.check(image_id)
        workspace = self._workspace
        is_locked = workspace.review_rules.lock(user, image_id) or self._access.assigned_to_other(user, image_id)
        if not workspace.queue.is_saved(image_id) and not is_locked:
            self._access.hold(user, image_id)
            workspace.log.skip(image_id, user)
            workspace.queue.skip(image_id)
        workspace.leases.give_back(image_id, user)
        return self.following_photo(user, image_id)

    def strip(self, user: str, image_id: int, num_before: int, num_after: int) -> JsonObject:
        """Return the photos before and after one, in folder order."""
        self._access.check(image_id)
        queue = self._workspace.queue
        position = queue.position(image_id)
        ids = queue.window(position - num_before, position + num_after + 1)
        return {
            "items": [
                {
                    "image_id": other,
                    "thumbnail_url": self._workspace.files.thumbnail_url(other),
                    "state": self._view.state_of(user, other),
                    "current": other == image_id,
                }
                for other in ids
            ]
        }

    def browse(
        self,
        user: str,
        offset: int,
        limit: int,
        query: str,
        state: str,
        sort: str = "folder",
        alike_to: int | None = None,
    ) -> JsonObject:
        """Return one page of the photos that a search finds (datasets/photo_search.py).

        Former names of tags count, and for a word that is nowhere, tags of similar meaning: ``meant``.

        ``state`` is ``all``, ``saved`` (a list is saved), ``unsaved``, ``empty`` (saved without tags), ``changed``
        (other pixels since), or one of the states of collaboration/review_rules.py as this user sees them.

        ``sort`` is ``folder``, ``name``, ``date`` (of the photo, the newest first), ``saved`` (the list saved last
        first), ``queue`` (as they come to be tagged, by the project's strategy) or ``alike`` (by likeness to the photo
        ``alike_to``, the most alike first).

        Raises:
            UnknownImageError: There is no photo ``alike_to``.
            StoreError: The database could not be read.
        """
        workspace, queue = self._workspace, self._workspace.queue
        if query.strip() or state != "all" or sort != "folder":
            found, meant = self.found(user, query, state, sort, alike_to)
            total, ids = len(found), found[offset : offset + limit].tolist()
        else:
            total, ids, meant = len(queue), queue.window(offset, offset + limit), []
        own = workspace.responses.own_tags(ids, user)
        items = [
            {
                "image_id": image_id,
                "thumbnail_url": workspace.files.thumbnail_url(image_id),
                "file_name": workspace.files.name(image_id),
                "state": self._view.state_of(user, image_id),
                "tags": list(workspace.ranking.tagged_photos.saved_tags(image_id)) or own.get(image_id, []),
            }
            for image_id in ids
        ]
        return {"total": total, "items": items, "meant": meant}

    def found(
        self, user: str, query: str, state: str, sort: str = "folder", alike_to: int | None = None
    ) -> tuple[Ids, list[str]]:
        """Return the photos that the library shows, in its order, and the tags of similar meaning that count."""
        workspace, queue = self._workspace, self._workspace.queue
        wanted = state if state in ("saved", "unsaved", "empty", "changed") else "all"
        stand_for = TagsOfTerms(workspace)
        # Photos of the newest ingest commit may not be in the queue yet.
        found = queue.in_order(workspace.store.images.search.find(query, wanted, stand_for.tags_of))
        if wanted != state:
            found = np.array([one for one in found.tolist() if self._view.state_of(user, one) == state], np.int32)
        return self._sorted(found, sort, alike_to), stand_for.meant

    def _sorted(self, found: Ids, sort: str, alike_to: int | None) -> Ids:
        """Return photos in an order; those that are equal in it, or have no value, in that of the folder."""
        workspace = self._workspace
        if sort == "folder" or (sort == "alike" and alike_to is None):
            return found
        if alike_to is not None and sort == "alike":
            self._access.check(alike_to)
            first = np.array(most_alike(workspace.features, alike_to, found.tolist()), np.int32)
        elif sort == "name":
            first = workspace.files.by_name()
        elif sort == "queue":
            first = np.fromiter(workspace.queue.upcoming(), np.int32)
        else:
            first = workspace.store.images.newest_first(sort)
        ranks = np.full(max(int(found.max(initial=0)), int(first.max(initial=0))) + 1, len(first), np.int32)
        ranks[first] = np.arange(len(first))
        return found[np.argsort(ranks[found], kind="stable")]

    def next(self, user: str, image_id: int) -> JsonObject | None:
        """End the lease of a photo after a commit, and return the photo to work on after it.

        What was committed is on disk: a failure here must not look like that of the commit, so the answer has no photo
        then, and the page asks for it.
        """
        self._workspace.leases.give_back(image_id, user)
        try:
            return self.following_photo(user, image_id)
        except Exception:
            logger.exception("Photo %s was saved, but the next one could not be brought.", image_id)
            return None

    def following_photo(self, user: str, image_id: int | None) -> JsonObject:
        """Return the photo to work on after one, or that there is none."""
        following = self._following(user, image_id)
        if following is None:
            state = self.state(user)
            # Look a second time: ingest may have added its last photo since the first look, and a page that is told
            # that ingest has ended does not ask again.
            following = self._following(user, image_id)
            if following is None:
                return {"done": True, **state}
        return self._view.photo(user, following)

    def _following(self, user: str, image_id: int | None) -> int | None:
        """Return the photo to work on after one: first those that a reviewer sent back, then the queue."""
        is_free = self._access.is_free_for(user)
        for other in self._workspace.responses.sent_back_to(user):
            if other != image_id and self._workspace.queue.is_open(other) and is_free(other):
                return other
        return self._workspace.queue.next_open(image_id, is_free)
