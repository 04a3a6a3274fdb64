"""`annotator serve` and `annotator demo`: open the tagging page."""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.detector import choose_detector
from annotator.cli.hosted import add_hosted_options, check_without_demo, serve_demo, server_config
from annotator.cli.operation import add_operation_options, admin_password, observation_config, tell
from annotator.cli.options import (
    TAGGER_HELP,
    add_ingest_options,
    checked_root,
    ingest_config,
    path_or_url,
    tagger_name,
)
from annotator.cli.vision import add_vision_options, sentence_about, vision_config
from annotator.datasets.photo_fields import parse_field
from annotator.datasets.photo_roots import PhotoRoot, typed_root
from annotator.datasets.vocabulary_file import FORMATS, read_vocabulary
from annotator.errors import ConfigError
from annotator.ingest.project_backbone import choose_backbone, choose_tagger
from annotator.ingest.vision_config import VisionConfig
from annotator.models.detectors.detector import NONE
from annotator.settings import (
    DETECTOR_CHOICES,
    SIDECAR_PROFILES,
    STRATEGIES,
    IngestConfig,
    ObservationConfig,
    ServerConfig,
)
from annotator.storage.private_files import hold_alone, private_files
from annotator.storage.project import Project, default_folder, is_project


def add_serve(commands: Any) -> None:
    """Add `annotator serve`."""
    serve = add_command(commands, "serve", _serve, "open the tagging page for a folder of photos",
                 "annotator serve ~/Pictures/holiday --open")  # fmt: skip
    serve.add_argument("photos", type=path_or_url, nargs="?", metavar="PHOTOS",
                       help="a folder of photos, a URL such as s3://BUCKET/FOLDER, or a project folder; with --demo: "
                       "sample photos")  # fmt: skip
    serve.add_argument(
        "--project", type=Path, metavar="DIR", help="folder of the project (default: in the user's data)"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=7860, help="port, 0 for a free one (default: %(default)s)")
    serve.add_argument("--allow-host", action="append", default=[], metavar="NAME",
                       help="a further host name of the server")  # fmt: skip
    serve.add_argument("--trusted-proxy", action="append", default=[], metavar="NETWORK",
                       help="a reverse proxy, as an address or network, whose X-Forwarded-For and -Proto are trusted; "
                       "without it all callers have its address; needs accounts or --demo")  # fmt: skip
    serve.add_argument("--root-path", default="", metavar="PREFIX",
                       help="the path under which a reverse proxy offers the page, such as /photos, whether the proxy "
                       "takes it off or passes it on")  # fmt: skip
    serve.add_argument("--open", action="store_true", help="open the page in the browser")
    serve.add_argument("--tagger", metavar="NAME", help=TAGGER_HELP)
    serve.add_argument("--strategy", choices=tuple(STRATEGIES),
                       help="which photo comes next (default: the project's own, at first in_order)")  # fmt: skip
    serve.add_argument("--word-vectors", metavar="NAME|PATH",
                       help="word vectors for the meaning of tags: glove, wordnet (see `annotator wordnet build`) or a "
                       "word2vec, GloVe, fastText or gensim file (default: the project's own)")  # fmt: skip
    serve.add_argument("--vocabulary", type=Path, metavar="FILE",
                       help="tags that may be proposed from the first photo on, copied into the project: one a line, "
                       "CSV, SKOS, a Lightroom keyword list, digikam4.db, or a booru's tag table")  # fmt: skip
    serve.add_argument("--vocabulary-format", choices=FORMATS,
                       help="of that file (default: told by its name and content)")  # fmt: skip
    serve.add_argument("--vocabulary-use", choices=("extend", "restrict", "none"),
                       help="whether the vocabulary adds to what may be proposed (extend, the default), is all of it "
                       "(restrict), or is not used any more (none)")  # fmt: skip
    serve.add_argument("--field", action="append", metavar="NAME",
                       help="what is written of a photo beside its tags: title, description, or a choice such as "
                       "'category:Animals|Food'; may be repeated; none: no more (default: the project's)")  # fmt: skip
    serve.add_argument("--prompt", action="append", metavar="TEXT",
                       help="how an image-text model is asked for a tag, as {}: 'a photo of {}, a dish.'; "
                       "may be repeated (default: the project's own, at first 'a photo of {}.')")  # fmt: skip
    serve.add_argument("--detector", choices=DETECTOR_CHOICES,
                       help="object detector (default: nanodet if it is installed)")  # fmt: skip
    serve.add_argument("--sidecars", choices=(*SIDECAR_PROFILES, "none"),
                       help="write an XMP sidecar beside the photo after each save, for that program; none ends it "
                       "(default: the project's own, at first none)")  # fmt: skip
    add_ingest_options(serve)
    add_vision_options(serve)
    add_operation_options(serve)
    add_hosted_options(serve)


def add_demo(commands: Any) -> None:
    """Add `annotator demo`."""
    demo = add_command(commands, "demo", _demo, "open the tagging page for a few sample photos",
                "annotator demo --open")  # fmt: skip
    demo.add_argument("folder", type=Path, nargs="?", default=Path("demo"), metavar="DIR",
                      help="folder of the demo's photos and project (default: %(default)s)")  # fmt: skip
    demo.add_argument("--port", type=int, default=7860, help="port, 0 for a free one (default: %(default)s)")
    demo.add_argument("--open", action="store_true", help="open the page in the browser")


def _serve(parsed: argparse.Namespace) -> int:
    if parsed.demo:
        return serve_demo(parsed)
    if parsed.photos is None and parsed.project and is_project(parsed.project.expanduser()):
        parsed.photos, parsed.project = parsed.project, None
    check_without_demo(parsed)
    photos: PhotoRoot = typed_root(str(parsed.photos))
    if isinstance(photos, Path) and is_project(photos) and parsed.project is None:
        project, folders = Project.open(photos), None
    else:
        photos = checked_root(photos)
        folder = parsed.project or default_folder(photos)
        project, folders = Project.open_or_create(folder, photos.name or "photos"), [photos]
    from annotator.web.server import listen

    config = server_config(parsed)
    project.check_writable()
    check_free(project)
    with hold_alone(project.folder), private_files():
        listen(config).close()  # a taken port is reported before any setting is changed
        _choose(project, parsed)
        vision = vision_config(parsed, project)
        if vision is not None:
            tell(sentence_about(vision), parsed.log_format)
        run_server(
            project,
            folders,
            config,
            ingest_config(parsed),
            parsed.open,
            vision,
            observation_config(parsed),
            admin_password(parsed),
            parsed.log_format,
        )
    return 0


def check_free(project: Project) -> None:
    """Refuse a project whose database another process has open, before any of its settings is changed.

    Raises:
        ProjectError: It has, or the database is damaged.
    """
    from annotator.storage.database import Store

    if is_project(project.folder):
        Store(project.database_path).close()


def _choose(project: Project, parsed: argparse.Namespace) -> None:
    """Store the choices of the command line in the project's settings."""
    if parsed.backbone:
        choose_backbone(project, parsed.backbone)
    if parsed.tagger:
        switched = choose_tagger(project, tagger_name(parsed.tagger))
        if switched:
            tell(switched, parsed.log_format)
    if parsed.strategy:
        project.update_settings(strategy=parsed.strategy)
    if parsed.word_vectors:
        project.update_settings(word_vectors=_check_word_vectors(parsed.word_vectors, project))
    if parsed.vocabulary is not None or parsed.vocabulary_use is not None:
        use, format = parsed.vocabulary_use, parsed.vocabulary_format or ""
        tell(choose_vocabulary(project, parsed.vocabulary, use, format), parsed.log_format)
    if parsed.field:
        fields = () if parsed.field == [NONE] else tuple(parse_field(one) for one in parsed.field)
        project.update_settings(fields=fields)
    if parsed.prompt:
        project.update_settings(prompts=tuple(parsed.prompt))
    if parsed.detector:
        choose_detector(project, parsed.detector)
    if parsed.sidecars:
        project.update_settings(sidecars="" if parsed.sidecars == "none" else parsed.sidecars)


def choose_vocabulary(project: Project, path: Path | None, use: str | None, format: str = "") -> str:
    """Import a vocabulary file, and store what it does; return a sentence about it.

    Raises:
        DataError: The file is missing or damaged.
        ConfigError: A use is given, but the project has no vocabulary.
    """
    from annotator.storage.database import Store
    from annotator.storage.vocabulary import replace_vocabulary

    if use == NONE:
        project.update_settings(vocabulary="")
        return "The vocabulary is not used any more."
    tags = read_vocabulary(path.expanduser(), format) if path is not None else []
    store = Store(project.database_path)
    try:
        if path is not None:
            replace_vocabulary(store, tags)
        num, num_forbidden = store.rows("SELECT count(*), count_if(is_forbidden) FROM vocabulary")[0]
    finally:
        store.close()
    if not num:
        raise ConfigError("This project has no vocabulary. Import one with: --vocabulary FILE")
    settings = project.update_settings(vocabulary=use or project.settings.vocabulary or "extend")
    does = "are all that may be proposed" if settings.vocabulary == "restrict" else "may be proposed too"
    also = f" {num_forbidden:,} are forbidden." if num_forbidden else ""
    return f"The {num - num_forbidden:,} tags of the vocabulary {does}.{also}"


def _check_word_vectors(source: str, project: Project) -> str:
    """Load word vectors and return their source as stored in the settings, files by their full path.

    Prints how many of the project's tags they lack.
    """
    from annotator.models.word_vectors.word_vectors import full_source, load_word_vectors
    from annotator.storage.correction_log import CorrectionLog
    from annotator.storage.database import Store

    source = full_source(source)
    vectors = load_word_vectors(source)
    store = Store(project.database_path)
    try:
        tags = sorted({tag for _, given in CorrectionLog(store).saved() for tag in given})
    finally:
        store.close()
    note = vectors.describe_unknown(tags, "tags in use")
    if note:
        print(note, file=sys.stderr)
    return source


def _demo(parsed: argparse.Namespace) -> int:
    from annotator.datasets.demo_photos import copy_demo_photos

    photos = parsed.folder.resolve() / "photos"
    copy_demo_photos(photos)
    project = Project.open_or_create(parsed.folder / "project", "demo")
    with hold_alone(project.folder), private_files():
        run_server(project, [photos], ServerConfig(port=parsed.port), IngestConfig(), parsed.open)
    return 0


def run_server(
    project: Project,
    folders: Sequence[PhotoRoot] | None,
    config: ServerConfig,
    ingest_config: IngestConfig,
    open_browser: bool,
    vision: VisionConfig | None = None,
    observed: ObservationConfig | None = None,
    admin_password: str = "",
    log_format: str = "text",
) -> None:
    """Serve a project until the process is terminated, and print its address once it answers.

    Raises:
        AccountError: The password of the first account is too short or too long.
        ConfigError: The port is taken.
        ProjectError: The project cannot be opened or written.
    """
    from annotator.web.server import serve

    def ready(address: str) -> None:
        text = f"Tagging page: {address}\nProject:      {project.folder}\nEnd with Ctrl+C."
        tell(text, log_format, is_result=True)
        if open_browser:
            webbrowser.open(address)

    tell("Starting ...", log_format)
    serve(project, folders, config, ingest_config, ready, vision, observed, admin_password)
