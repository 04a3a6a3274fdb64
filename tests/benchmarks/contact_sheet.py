"""Draw contact sheets: photos with a tagger's proposals, to be looked at.

    python tests/benchmarks/contact_sheet.py PHOTOS --num 60 --seed 0 --tagger starter --out sheet.png

With a records.jsonl in the folder (one {"image", "tags"} a line) the photos are drawn from it and the person's own
tags stand below; without, all pictures below the folder are drawn from. `--measure N` prints, on N records, how often
the first proposal is one of the person's tags and how many of their tags are among the first ten, by plain equality
of words: a person who typed "man" is not matched by "person". `--json` prints the same as JSON.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from annotator.datasets.tags import tag_key
from annotator.models.backbones.backbone import Backbone, load_backbone
from annotator.models.tagger import RankedTag, Tagger
from annotator.models.taggers.cold_start import COLD_START
from annotator.proposals.tagger_catalog import TaggerCatalog

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
CELL = (430, 230)
PHOTO = (240, 200)
COLUMNS = 4
COLORS = {True: "#1a7f37", False: "#222222"}


def find_photos(folder: Path) -> list[tuple[Path, list[str]]]:
    """Return (path, the person's tags) for every photo of the folder."""
    records = folder / "records.jsonl"
    if records.exists():
        rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
        return [(folder / row["image"], row["tags"]) for row in rows]
    return [(path, []) for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]


def propose(backbone: Backbone, tagger: Tagger, paths: Sequence[Path], k: int) -> list[list[RankedTag]]:
    """Return each photo's ranked proposals by one tagger alone."""
    ranked: list[list[RankedTag]] = []
    for start in range(0, len(paths), 64):
        crops = []
        for path in paths[start : start + 64]:
            with Image.open(path) as image:
                crops.append(backbone.preprocess(ImageOps.exif_transpose(image).convert("RGB")))
        features = backbone.extract(np.stack(crops))
        ranked += tagger.decode(features, [()] * len(crops), k=k)
    return ranked


def draw_sheet(items: Sequence[tuple[int, Path, list[str], list[RankedTag]]]) -> Image.Image:
    """Draw one sheet; proposals that the person typed too are green."""
    rows = -(-len(items) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL[0], rows * CELL[1]), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for place, (number, path, tags, ranked) in enumerate(items):
        x, y = (place % COLUMNS) * CELL[0], (place // COLUMNS) * CELL[1]
        with Image.open(path) as image:
            photo = ImageOps.contain(ImageOps.exif_transpose(image).convert("RGB"), PHOTO)
        sheet.paste(photo, (x + 2, y + 2))
        keys = {tag_key(tag) for tag in tags}
        for line, proposal in enumerate(ranked):
            text = f"{line + 1} {proposal.tag} {proposal.score:.2f}"
            position = (x + PHOTO[0] + 8, y + 4 + 17 * line)
            draw.text(position, text, fill=COLORS[tag_key(proposal.tag) in keys], font=font)
        if not ranked:
            draw.text((x + PHOTO[0] + 8, y + 4), "(no proposal)", fill="#999999", font=font)
        own = f"{number}: {', '.join(tags)}"
        draw.text((x + 2, y + CELL[1] - 22), own[:58], fill="#0550ae", font=font)
    return sheet


def measure(own: Sequence[list[str]], ranked: Sequence[list[RankedTag]]) -> dict[str, Any]:
    """Compare proposals with the person's tags."""
    truth = [{tag_key(tag) for tag in tags} for tags in own]
    lists = [[tag_key(proposal.tag) for proposal in proposals] for proposals in ranked]
    first = [proposals[0] in tags for tags, proposals in zip(truth, lists, strict=True) if proposals]
    found = sum(len(tags & set(proposals[:10])) for tags, proposals in zip(truth, lists, strict=True))
    return {
        "num_photos": len(own),
        "share_with_proposals": len(first) / len(own),
        "precision_at_1": sum(first) / max(len(first), 1),
        "recall_at_10": found / max(sum(map(len, truth)), 1),
        "mean_proposals": sum(map(len, lists)) / len(lists),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num", type=int, default=60, help="how many photos to draw (60)")
    parser.add_argument("--per-sheet", type=int, default=20, help="photos on one picture (20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sheet.png"))
    parser.add_argument("--measure", type=int, metavar="N", help="draw nothing; measure on N records")
    parser.add_argument(
        "--tagger", default=COLD_START, help="cold_start, starter, or a checkpoint's folder (cold_start)"
    )
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--json", action="store_true", help="print the proposals, or the measures, as JSON")
    options = parser.parse_args(arguments)
    photos = find_photos(options.folder)
    if not photos:
        parser.error(f"{options.folder} holds no photos.")
    num = min(options.measure or options.num, len(photos))
    chosen = random.Random(options.seed).sample(photos, num)
    backbone = load_backbone(options.backbone)
    tagger = TaggerCatalog(backbone, Path(), options.tagger).taggers[0]
    ranked = propose(backbone, tagger, [path for path, _ in chosen], 10)
    if options.measure:
        measures = measure([tags for _, tags in chosen], ranked)
        lines = [f"{name:>20}  {value:.3f}" for name, value in measures.items()]
        print(json.dumps(measures) if options.json else "\n".join(lines))
        return
    numbered = [
        (number, path, tags, proposals)
        for number, ((path, tags), proposals) in enumerate(zip(chosen, ranked, strict=True), 1)
    ]
    for start in range(0, num, options.per_sheet):
        out = options.out
        if num > options.per_sheet:
            out = out.with_name(f"{out.stem}-{start // options.per_sheet + 1}{out.suffix}")
        draw_sheet(numbered[start : start + options.per_sheet]).save(out)
        if not options.json:
            print(out)
    if options.json:
        answer = [
            {"image": str(path), "own": tags, "tags": [{"tag": p.tag, "score": p.score} for p in proposals]}
            for _, path, tags, proposals in numbered
        ]
        print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
