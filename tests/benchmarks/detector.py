"""How long the detector looks at a photo, beside the backbone on the same photos in the same run.

    python tests/benchmarks/detector.py PHOTOS [--num 300] [--rounds 3] [--threads 1] [--json]

Needs `annotator detector install`, or torchvision's weights. Photos are decoded before the clock starts; both get the
decoded photo and do their own resizing. Rounds alternate; the ratio is of the medians. Also prints how many things a
photo has that are stored, since each is read again at a proposal.
"""

import argparse
import statistics
import time
from pathlib import Path

from harness import report

from annotator.datasets.image_folder import decode_image, find_images, read_image_file
from annotator.ingest.detection_pass import wanted_detector
from annotator.models.backbones.backbone import load_backbone
from annotator.models.detectors.detector_catalog import load_detector


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--detector", default="")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    detector = load_detector(wanted_detector(parsed.detector), num_threads=parsed.threads)
    backbone = load_backbone(num_threads=parsed.threads)
    paths = list(find_images(parsed.photos))[: parsed.num]
    images = [decode_image(read_image_file(path), min_side=320).image for path in paths]
    found = detector.detect(images[:1])
    looking, seeing = [], []
    for _ in range(parsed.rounds):
        started = time.perf_counter()
        found = [things for image in images for things in detector.detect([image])]
        looking.append(1000 * (time.perf_counter() - started) / len(images))
        started = time.perf_counter()
        for image in images:
            backbone.extract(backbone.preprocess(image)[None])
        seeing.append(1000 * (time.perf_counter() - started) / len(images))
    report(
        "Detector",
        [{
            "detector": detector.version,
            "photos": len(images),
            "threads": parsed.threads,
            "detector_ms": round(statistics.median(looking), 1),
            "backbone_ms": round(statistics.median(seeing), 1),
            "ratio": round(statistics.median(looking) / statistics.median(seeing), 2),
            "things_per_photo": round(statistics.mean(map(len, found)), 1),
            "most_things": max(map(len, found)),
        }],
        as_json=parsed.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
