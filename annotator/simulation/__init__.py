"""A simulated annotator that measures the effort of tagging."""
