"""The sources of evidence, one a file: each turns what it knows of a photo into `Evidence`."""
