"""The workspace of an open project, the operations on it, and the services that carry them out."""
