"""The tags for which a searched word stands besides those that contain it: former names, and similar meanings.

Knows nothing of paths or of the database.
"""

from annotator.datasets.tags import search_key
from annotator.session.workspace import Workspace


class TagsOfTerms:
    """Finds the tags of the words of one search.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.meant: list[str] = []
        """Tags that were found by their meaning, for words that no tag and no path contains."""

    def tags_of(self, term: str) -> list[str]:
        """Return the tags for which a search key stands; those by meaning only if nothing else contains it."""
        vocabulary, search = self._workspace.ranking.vocabulary, self._workspace.store.images.search
        renamed = vocabulary.aliases_with(term)
        in_use = vocabulary.tags_in_use()
        if (
            renamed
            or any(term in search_key(tag) for tag in in_use)
            or search.is_in_a_path(term)
        ):
            return renamed
        meant = self._workspace.similar_tags.near(term, [in_use])
        self.meant += [tag for tag in meant if tag not in self.meant]
        return meant
