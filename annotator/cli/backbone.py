"""`annotator backbone`: lists, installs, measures and removes backbones.

Parses, calls models/backbones/, and prints.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from annotator.cli.command import add_verb, add_verbs, show_step
from annotator.errors import BackboneError


def add_backbone(commands: Any) -> None:
    """Add the command and its verbs to the parser."""
    verbs = add_verbs(
        commands,
        "backbone",
        "list, install, measure or remove networks that see photos",
        "List, install, measure or remove networks that turn photos into features: any model of timm or open_clip.",
        "annotator backbone list",
    )
    listing = add_verb(
        verbs, "list", _list, "list them", "List the backbones that are there.", "annotator backbone list --json"
    )
    listing.add_argument("--json", action="store_true", help="print a JSON list")
    install = add_verb(
        verbs,
        "install",
        _install,
        "fetch a model of timm or open_clip, export it to ONNX and check it against torch",
        "Fetch a model from the Hugging Face hub, export it to ONNX, check it against torch and keep it in the user's "
        "cache.",
        "annotator backbone install timm/ViT-B-16-SigLIP2",
    )
    install.add_argument("name", metavar="NAME",
                         help="a repository of the hub, a name of timm, ARCHITECTURE:WEIGHTS of open_clip, or a folder "
                         "with the model's files")  # fmt: skip
    install.add_argument("--image-only", action="store_true", help="leave out the text tower of an image-text model")
    bench = add_verb(
        verbs,
        "bench",
        _bench,
        "measure a backbone on this machine, and its weights of 8 bits against those of 32",
        "Measure photos a second, and how far weights of 8 bits change the proposed words.",
        "annotator backbone bench timm__ViT-B-16-SigLIP2 --photos ~/Pictures",
    )
    bench.add_argument("name", metavar="NAME", help="a backbone that `annotator backbone list` names")
    bench.add_argument("--photos", type=Path, metavar="DIR", help="photos to measure with (default: the demo's)")
    bench.add_argument("--num", type=int, default=64, metavar="N", help="at most so many (default: %(default)s)")
    bench.add_argument("--threads", type=int, default=2, metavar="N", help="CPU threads (default: %(default)s)")
    bench.add_argument("--json", action="store_true", help="print a JSON object")
    remove = add_verb(
        verbs,
        "remove",
        _remove,
        "remove an installed one",
        "Remove an installed backbone; features of it stay in projects.",
        "annotator backbone remove timm__ViT-B-16-SigLIP2",
    )
    remove.add_argument("name", metavar="NAME")


def _list(parsed: argparse.Namespace) -> int:
    from annotator.models.backbones.backbone import list_backbones
    from annotator.models.backbones.installed import list_damaged, list_installed

    installed = {model.architecture.name: model for model in list_installed()}
    rows = []
    for info in list_backbones():
        model = installed.get(info.name)
        row: dict[str, Any] = {
            "name": info.name, "values": info.feature_size, "pixels": info.image_size, "source": info.source,
            "available": info.is_available,
        }  # fmt: skip
        if model is not None:
            row |= {
                "licence": model.licence,
                "megabytes": round(model.num_bytes / 1e6, 1),
                "has_text": model.text is not None,
                "photos_per_second": model.photos_per_second,
                "commit": model.commit,
            }
        rows.append(row)
    if parsed.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(_line(row))
    for sentence in list_damaged():
        print(sentence, file=sys.stderr)
    return 0


def _line(row: dict[str, Any]) -> str:
    facts = [f"{row['values']} values", f"{row['pixels']} pixels"]
    if "licence" in row:
        facts += [f"{row['megabytes']:g} MB", f"licence {row['licence'] or 'not named'}"]
        facts += [f"{speed:g} photos/s {name}" for name, speed in row["photos_per_second"].items()]
        facts += ["image and text"] if row["has_text"] else []
    facts.append(row["source"] if row["available"] else f"not there, from {row['source']}")
    return f"{row['name']}: {', '.join(facts)}"


def _install(parsed: argparse.Namespace) -> int:
    from annotator.models.backbones.hub_install import install

    model = install(parsed.name, show_step, image_only=parsed.image_only)
    name, speeds = model.architecture.name, model.photos_per_second
    print(f"Installed {name} ({model.architecture.feature_size} values) in {model.folder}.")
    print(f"The network alone: {', '.join(f'{speed:g} photos/s with {kind}' for kind, speed in speeds.items())}.")
    print(f"Use it with: annotator serve PHOTOS --backbone {name}")
    if speeds.get("int8", 0) > 1.1 * speeds["fp32"]:
        print(f"Weights of 8 bits are faster here; what they change says: annotator backbone bench {name}")
    return 0


def _bench(parsed: argparse.Namespace) -> int:
    from annotator.models.backbones.backbone_bench import measure

    if not 1 <= parsed.num <= 100_000:
        raise BackboneError(f"--num must be 1 to 100,000, got {parsed.num}.")
    report = measure(parsed.name, parsed.photos, parsed.num, parsed.threads)
    if parsed.json:
        print(json.dumps(report, indent=2))
        return 0
    for kind, values in report["kinds"].items():
        speed, each = values["photos_per_second"], values["seconds_each"]
        print(f"{kind}: {speed:g} photos/s (the network alone), {each:.4f} s a photo")
    if report["cosine"] is not None:
        cosine, num = report["cosine"], report["num_photos"]
        print(f"8 bits against 32: least cosine of the features {cosine:.4f} on {num} photos")
    if report["same_first_nine"] is not None:
        words, lists = report["same_first_nine"], report["same_lists"]
        print(f"first nine words: {words:.3f} of them stay, {lists:.3f} of the lists stay the same")
    print(report["advice"])
    return 0


def _remove(parsed: argparse.Namespace) -> int:
    from annotator.models.backbones.installed import remove_installed

    is_gone = remove_installed(parsed.name)
    print(f"Removed {parsed.name}." if is_gone else f"There is no installed backbone {parsed.name}.")
    return 0
