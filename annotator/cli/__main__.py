"""``python -m annotator.cli.main``: the same as ``annotator``."""

from annotator.cli.main import main

raise SystemExit(main())
