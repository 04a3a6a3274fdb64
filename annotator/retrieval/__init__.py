"""Nearest neighbours: by features with FAISS, and by sets of words."""
