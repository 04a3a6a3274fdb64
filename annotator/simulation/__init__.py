"""A simulated annotator that measures the work which tagging takes."""
