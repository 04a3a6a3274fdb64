"""The page: Gradio mounts it, session.py answers it. Knows nothing of the store or of models."""
