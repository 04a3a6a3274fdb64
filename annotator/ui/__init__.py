"""The tagging page, mounted by Gradio. Knows nothing of the operations, the database or models."""
