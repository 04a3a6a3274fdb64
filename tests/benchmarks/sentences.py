"""Sentences by S-CNN-RNN's decoder beside NIC-F and NIC-deeply: table 4 of its paper.

    python tests/benchmarks/sentences.py DATA [--forms concepts deep features] [--seeds 0 1 2] [--epochs 20]
        [--beam-width 3] [--show N] [--test-side] [--quick] [--threads N]

DATA holds records.jsonl with a `caption` for each photo; photos without one are left out. The words of training
captions are the vocabulary, the 1,000 most frequent the concepts. The validation side of each seed's split stops the
training; with `--test-side` another fifth is reported on (held_out.py), else the validation side itself. Prints a
Markdown table of BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D against the photo's one caption, in percent (CIDEr-D of 10):
means over seeds and, in brackets, the largest distance from it; and `--show` sentences. METEOR is not computed. With
one reference a photo instead of five the figures are far below the paper's; the comparison of the forms is what can
be repeated.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import held_out
import numpy as np
import torch

from annotator.datasets.record import Record, read_records
from annotator.datasets.splits import split
from annotator.models.backbones.backbone import load_backbone
from annotator.models.taggers.captioner import FORMS, Captioner, CaptionerConfig, vocabulary_of, words_of
from annotator.trainer.caption_fit import CaptionFitSettings, CaptionSide, fit_captioner
from annotator.trainer.evaluation import caption_metrics
from annotator.trainer.feature_cache import features_of

SHOWN = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D", "words")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20, help="most epochs of each stage")
    parser.add_argument("--min-count", type=int, default=5, help="captions that a word of the vocabulary stands in")
    parser.add_argument("--beam-width", type=int, default=3)
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N sentences of the first seed")
    parser.add_argument("--threads", type=int, default=2)
    held_out.add_options(parser)
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    if parsed.quick:
        parsed.seeds, parsed.epochs = parsed.seeds[:1], held_out.QUICK_EPOCHS
    records = [record for record in read_records(parsed.data, keep_untagged=True) if words_of(record.caption or "")]
    if not records:
        raise SystemExit(f"No photo of {parsed.data} has a caption.")
    rest, test = held_out.chosen(records, parsed)
    found = features_of([*rest, *test], load_backbone(num_threads=parsed.threads))
    row_of = {record.image: row for row, record in enumerate(found.records)}

    def side(records: Sequence[Record]) -> CaptionSide:
        kept = [record for record in records if record.image in row_of]
        rows = [row_of[record.image] for record in kept]
        return CaptionSide(found.features[rows], [words_of(record.caption or "") for record in kept])

    print(f"| form | {' | '.join(SHOWN)} | s |\n|---|{'---|' * len(SHOWN)}---|")
    for form in parsed.forms:
        began = time.monotonic()
        values = []
        for number, seed in enumerate(parsed.seeds):
            train, validation = (side(records) for records in split(rest, seed))
            shown = side(test) if test else validation
            torch.manual_seed(seed)
            words = vocabulary_of(train.sentences, parsed.min_count)
            captioner = Captioner(words, found.features.shape[1], CaptionerConfig(form))
            fit_captioner(captioner, train, validation, CaptionFitSettings(epochs=parsed.epochs, seed=seed))
            proposed = captioner.propose(torch.from_numpy(shown.features), beam_width=parsed.beam_width)
            values.append(measure(proposed, shown.sentences))
            for sentence, given in list(zip(proposed, shown.sentences, strict=True))[: 0 if number else parsed.show]:
                print(f"{form}: {' '.join(sentence)}   [{' '.join(given)}]")
        means = np.mean(values, axis=0)
        spreads = np.abs(np.array(values) - means).max(axis=0)
        cells = [f"{mean:.1f} ({spread:.1f})" for mean, spread in zip(means, spreads, strict=True)]
        print(f"| {form} | {' | '.join(cells)} | {time.monotonic() - began:.0f} |", flush=True)


def measure(proposed: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> list[float]:
    """Return the measures of `SHOWN`, the first six times 100."""
    references = [[words] for words in given]
    shares = [*caption_metrics.bleu(proposed, references), caption_metrics.rouge_l(proposed, references),
              caption_metrics.cider(proposed, references)]  # fmt: skip
    return [*(100 * value for value in shares), float(np.mean([len(words) for words in proposed]))]


if __name__ == "__main__":
    main()
