"""Content hash and shown name of each photo, in memory, since every view of photos needs them.

Knows nothing of the database.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from annotator.active_learning.random_sample import is_in_sample
from annotator.collaboration.responses import in_share
from annotator.storage.images import SeenPath

VERSION_LENGTH = 16
"""Characters of the content hash in a picture's URL: changed content gets a new URL."""


class PhotoFiles:
    """The files of one project's photos.

    Args:
        files: Image id -> (content hash, path below its folder).
        shown_name: The name that the page shows for a path below its folder.
    """

    def __init__(self, files: Mapping[int, tuple[str, str]], shown_name: Callable[[str], str]) -> None:
        self.shown_name = shown_name
        self._files = {image_id: (digest, shown_name(path)) for image_id, (digest, path) in files.items()}

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def add(self, paths: Sequence[SeenPath], hashes: Mapping[int, str]) -> None:
        """Take in paths that ingest has committed.

        Args:
            paths: The paths; those without an image are ignored.
            hashes: Image id -> content hash, of the new images among them.
        """
        for seen in paths:
            if seen.image_id is not None:
                known = self._files.get(seen.image_id)
                digest = known[0] if known else hashes[seen.image_id]
                self._files[seen.image_id] = (digest, self.shown_name(seen.path))

    def content_hash(self, image_id: int) -> str:
        """Return a photo's content hash."""
        return self._files[image_id][0]

    def name(self, image_id: int) -> str:
        """Return the name that the page shows for a photo."""
        return self._files[image_id][1]

    def thumbnail_url(self, image_id: int) -> str:
        """Return the URL of a photo's thumbnail."""
        return f"/thumbnail/{image_id}?v={self.content_hash(image_id)[:VERSION_LENGTH]}"

    def image_url(self, image_id: int) -> str:
        """Return the URL of a photo."""
        return f"/image/{image_id}?v={self.content_hash(image_id)[:VERSION_LENGTH]}"

    def is_in_sample(self, image_id: int, share: float) -> bool:
        """Return whether a photo belongs to the random sample of this share."""
        return is_in_sample(self.content_hash(image_id), share)

    def in_share(self, image_ids: Sequence[int], share: float) -> list[int]:
        """Return the photos that several people are asked about when this share of all photos is."""
        return [image_id for image_id in image_ids if in_share(self.content_hash(image_id), share)]
