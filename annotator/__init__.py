"""annotator: rank the tags of your photos, with a model in the loop.

The sister folders models/, trainer/ and datasets/ are subpackages of this one. In a wheel they lie inside it;
in the source tree they lie beside it, and the repository's root is appended to ``__path__`` so that
``annotator.models`` is found in both.
"""

from pathlib import Path

__version__ = "0.2.0"

if not (Path(__file__).parent / "models").is_dir():
    __path__.append(str(Path(__file__).parent.parent))
