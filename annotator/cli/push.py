"""`annotator push`: saved lists and their photos as a data set on the Hugging Face hub; by default only shown."""

import argparse
import re
import tempfile
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.export import add_selection_options, export_rows
from annotator.datasets.formats import registry
from annotator.datasets.formats.contract import Report
from annotator.errors import AnnotatorError, ConfigError
from annotator.storage.project import Project

FORMATS = {"imagefolder": {"photos": "symlink"}, "parquet": {"photos": "embed"}}
"""Format -> its options: photos are read from where they lie."""
CARD = "README.md"
NUM_SHOWN_FILES = 5
REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


def add_push(commands: Any) -> None:
    """Add `annotator push`."""
    push = add_command(commands, "push", _push, "show, and with --yes upload, the saved lists and photos as a data set",
                "annotator push PROJECT anna/holiday --license cc-by-4.0",
                more=" on the Hugging Face hub, with a card. The token is that of `hf auth login`.")  # fmt: skip
    push.add_argument("project", type=Path, metavar="PROJECT")
    push.add_argument("repo", metavar="OWNER/NAME", help="the data set on the hub; it is made if it does not exist")
    push.add_argument("--yes", action="store_true", help="upload; otherwise nothing leaves this machine")
    push.add_argument("--public", action="store_true", help="make a new data set public (default: private)")
    push.add_argument("--format", choices=tuple(FORMATS), default="imagefolder",
                      help="parquet also names who saved each list (default: %(default)s)")  # fmt: skip
    push.add_argument("--license", default="", metavar="NAME", help="the hub's name of a licence, such as cc-by-4.0")
    add_selection_options(push)


def _push(parsed: argparse.Namespace) -> int:
    from annotator.datasets.formats.writing import write_format
    from annotator.exchange.dataset_card import CardFacts, card_of
    from annotator.exchange.exported_photo import exported_photo

    if not REPO.fullmatch(parsed.repo):
        raise ConfigError(f"{parsed.repo[:100]!r} is no data set's name; it is OWNER/NAME.")
    if parsed.license and not re.fullmatch(r"[\w.-]{1,60}", parsed.license, re.ASCII):
        raise ConfigError(f"{parsed.license[:60]!r} is no licence's name on the hub, such as cc-by-4.0.")
    project = Project.open(parsed.project)
    format = registry.find(parsed.format)
    options = format.configure(FORMATS[parsed.format])
    with tempfile.TemporaryDirectory(prefix="annotator-push-") as scratch:
        folder = Path(scratch) / "dataset"
        # Parquet is one file, which lies in the folder beside its card.
        out = folder if format.layout == "folder" else folder / "train.parquet"
        photos = (exported_photo(row) for row in export_rows(project, parsed, detailed=True))
        report = write_format(format, photos, out, options, leave_out=True)
        assert format.read is not None  # both formats are read, too
        facts = CardFacts()
        facts.count(format.read(out, options, Report()))
        card = card_of(project.settings.name, parsed.repo, parsed.format, parsed.license, facts)
        (folder / CARD).write_text(card, encoding="utf-8")
        _show(parsed, folder, card, report.num_problems)
        if not parsed.yes:
            print("Nothing was uploaded. To upload it, add --yes.")
            return 0
        print(f"Uploaded: {upload(folder, parsed.repo, public=parsed.public)}")
    return 0


def _show(parsed: argparse.Namespace, folder: Path, card: str, num_left_out: int) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    print(card)
    print(f"{len(files):,} files, {size / 1e6:,.1f} MB, for the data set {parsed.repo}:")
    for path in files[:NUM_SHOWN_FILES]:
        print(f"  {path.relative_to(folder)}")
    if len(files) > NUM_SHOWN_FILES:
        print(f"  and {len(files) - NUM_SHOWN_FILES:,} more")
    if num_left_out:
        print(f"{num_left_out:,} photos are left out, since their files are gone or cannot be taken along.")
    print("Photos go as they are, with what their files say of place, time and camera.")


def upload(folder: Path, repo: str, *, public: bool) -> str:
    """Upload a folder as a data set, with the token of the hub's own login; return the address of the commit.

    Raises:
        ConfigError: The hub's package is not installed, or nobody is logged in.
        AnnotatorError: The hub refuses, or cannot be reached.
    """
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError as error:
        raise ConfigError("This needs the package huggingface-hub: pip install 'annotator[hub]'.") from error
    if huggingface_hub.get_token() is None:
        raise ConfigError("Nobody is logged in at the hub. Log in first: hf auth login.")
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo, folder_path=folder, repo_type="dataset", commit_message="Ranked tags by annotator"
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        # The hub's messages have several lines; the first says what was wrong.
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AnnotatorError(f"The data set could not be uploaded: {first.strip()}") from error
    return str(done.commit_url)
