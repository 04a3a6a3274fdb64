"""The commands of ``annotator``, one file a command; each parses, calls the library and prints."""
