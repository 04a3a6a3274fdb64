"""What people do with a project: the workspace, the operations, and the services that answer them."""
