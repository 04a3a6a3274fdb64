"""Nearest neighbours: by features through FAISS, and by sets of words."""
