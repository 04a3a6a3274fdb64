"""The page: Gradio mounts it, session/session.py answers it. Knows nothing of the store or of models."""
