"""The words of a project: spellings, completions, similar tags, the lexicon."""
