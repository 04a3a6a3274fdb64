"""Tags in and out of a project."""
