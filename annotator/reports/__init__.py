"""Reports from the correction log: the effort of tagging, and the agreement between people."""
