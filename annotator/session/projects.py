"""Other projects of the person at this machine: recent ones, folders to choose from, and their servers."""

from dataclasses import asdict
from pathlib import Path

from annotator.errors import ConfigError
from annotator.ingest.chosen_project import demo_project, full_path, list_folder, project_of
from annotator.json_types import JsonObject
from annotator.session.project_servers import ProjectServers
from annotator.session.workspace import Workspace
from annotator.storage.project import is_project
from annotator.storage.recent_projects import recent_projects


class Projects:
    """What else can be opened from the page of one project.

    Only the person at the server's machine may: a server that other machines reach has no `project_servers`, and an
    account, be it an admin's, is not the owner of the machine's folders.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def recent(self, user: str) -> JsonObject:
        """Return the projects that were opened on this machine, the newest first, and a folder to begin with.

        Raises:
            ConfigError: This person may not open projects.
        """
        servers = self._servers(user)
        running = servers.running()
        projects = [
            asdict(one) | {"is_here": Path(one.folder) == servers.own, "is_running": Path(one.folder) in running}
            for one in recent_projects()
        ]
        roots = [root for _, root in self._workspace.store.images.roots()]
        folders = [root.parent for root in roots if isinstance(root, Path)]
        start = next((folder for folder in folders if folder.is_dir()), Path.home())
        return {"recent": projects, "start": str(start)}

    def folder(self, user: str, path: str) -> JsonObject:
        """Return the subfolders of a folder of this machine, and how many photos are in it.

        Raises:
            ConfigError: This person may not see folders, or there is no such folder, or it cannot be read.
        """
        self._servers(user)
        listed = list_folder(full_path(path))
        parent = listed.path.parent
        return {
            "path": str(listed.path),
            "parent": None if parent == listed.path else str(parent),
            "is_project": is_project(listed.path),
            "num_photos": listed.num_photos,
            "folders": [
                {"name": folder.name, "path": str(folder), "is_project": is_project(folder)}
                for folder in listed.folders
            ],
        }

    def open(self, user: str, path: str, *, demo: bool) -> JsonObject:
        """Serve another project from a process of its own, and return how far that is; see `ProjectServers.open`.

        Args:
            user: Who asks.
            path: A project, or a folder of photos.
            demo: The demo instead, whose photos come along.

        Raises:
            ConfigError: This person may not open projects, or there is nothing to open at the path.
        """
        servers = self._servers(user)
        chosen = demo_project() if demo else project_of(full_path(path))
        return servers.open(chosen.folder, "--demo" if demo else str(chosen.photos or chosen.folder))

    def close(self, user: str, path: str) -> JsonObject:
        """End the server of a project that was opened from here, and return how far that is; see `ProjectServers.end`.

        Args:
            user: Who asks.
            path: The project's folder, as `recent` names it.

        Raises:
            ConfigError: This person may not open projects, or no server of that project was started from here.
        """
        return self._servers(user).end(Path(path))

    def _servers(self, user: str) -> ProjectServers:
        servers = self._workspace.project_servers
        if servers is None or not self._workspace.may_open_projects(user):
            raise ConfigError("Other projects are opened by the person at the server's machine: annotator open.")
        return servers
