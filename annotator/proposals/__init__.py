"""The ranked list of one photo: evidence from each source, fused and re-ranked."""
