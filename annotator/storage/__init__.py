"""The project folder, its database, its features, and the correction log."""
