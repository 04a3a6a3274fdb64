"""Export of tags."""
