"""What tagging costs and how far people agree, read from the correction log."""
