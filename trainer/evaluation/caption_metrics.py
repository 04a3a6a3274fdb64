"""Measures of sentences: BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D, as the MS-COCO caption evaluation computes them.

Papers: Papineni et al., "BLEU", ACL 2002; Lin, "ROUGE", 2004; Vedantam, Zitnick, Parikh, "CIDEr", CVPR 2015. METEOR is
left out: it needs its authors' Java program and paraphrase tables. Words are given, so that no tokenizer is part of the
measures; that of MS-COCO's program differs in its treatment of punctuation.
Knows nothing of models. Sentences are lists of words; each photo has one proposed sentence and one reference or more.
"""

import math
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]

MAX_N = 4
"""Longest n-grams of BLEU and CIDEr."""
ROUGE_BETA = 1.2
"""Weight of recall in ROUGE-L; that of MS-COCO's program."""
CIDER_SIGMA = 6.0
"""Width of CIDEr-D's penalty of another length."""


def bleu(proposed: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """Return BLEU-1 to BLEU-4 of all photos together, in [0, 1].

    N-grams count at most as often as in the reference that has them most often; the brevity penalty takes for each
    photo the reference whose length is closest, the shorter one on a tie.

    Raises:
        ValueError: The numbers of photos differ.
    """
    _check(proposed, references)
    right, total = [0] * MAX_N, [0] * MAX_N
    length = closest = 0
    for words, others in zip(proposed, references, strict=True):
        length += len(words)
        closest += min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        for n in range(1, MAX_N + 1):
            own = ngrams(words, n)
            most: Counter[tuple[str, ...]] = Counter()
            for other in others:
                most |= ngrams(other, n)
            right[n - 1] += sum((own & most).values())
            total[n - 1] += sum(own.values())
    brevity = 1.0 if length >= closest else math.exp(1 - closest / max(length, 1))
    values, product = [], 1.0
    for n in range(MAX_N):
        product *= right[n] / total[n] if total[n] else 0.0
        values.append(brevity * product ** (1 / (n + 1)))
    return values


def rouge_l(proposed: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """Return ROUGE-L, the mean over photos: the F measure of the longest common subsequence, in [0, 1].

    Precision and recall are each the highest over the photo's references.

    Raises:
        ValueError: The numbers of photos differ.
    """
    _check(proposed, references)
    values = []
    for words, others in zip(proposed, references, strict=True):
        common = [longest_common(words, other) for other in others]
        precision = max(number / max(len(words), 1) for number in common)
        recall = max(number / max(len(other), 1) for number, other in zip(common, others, strict=True))
        below = recall + ROUGE_BETA**2 * precision
        values.append((1 + ROUGE_BETA**2) * precision * recall / below if below else 0.0)
    return sum(values) / len(values)


def cider(proposed: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """Return CIDEr-D, the mean over photos, 10 at most.

    Vectors of n-grams weighted by log(photos / photos whose references have them); the proposed counts are clipped to
    the reference's, and another number of words is penalised.

    Raises:
        ValueError: The numbers of photos differ.
    """
    _check(proposed, references)
    occurrences: Counter[tuple[str, ...]] = Counter()
    for others in references:
        occurrences.update({gram for other in others for n in range(1, MAX_N + 1) for gram in ngrams(other, n)})
    total = math.log(len(references))

    def weighted(words: Words, n: int) -> dict[tuple[str, ...], float]:
        counts = ngrams(words, n)
        return {gram: count * (total - math.log(max(1, occurrences[gram]))) for gram, count in counts.items()}

    values = []
    for words, others in zip(proposed, references, strict=True):
        of_photo = 0.0
        for other in others:
            penalty = math.exp(-((len(words) - len(other)) ** 2) / (2 * CIDER_SIGMA**2))
            for n in range(1, MAX_N + 1):
                one, two = weighted(words, n), weighted(other, n)
                norms = [math.sqrt(sum(value * value for value in vector.values())) for vector in (one, two)]
                if norms[0] and norms[1]:
                    shared = sum(min(value, two[gram]) * two[gram] for gram, value in one.items() if gram in two)
                    of_photo += penalty * shared / (norms[0] * norms[1]) / MAX_N
        values.append(10 * of_photo / len(others))
    return sum(values) / len(values)


def ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    """Return how often each sequence of n words occurs."""
    return Counter(tuple(words[place : place + n]) for place in range(len(words) - n + 1))


def longest_common(one: Words, other: Words) -> int:
    """Return the length of the longest common subsequence."""
    lengths = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, match in enumerate(other, start=1):
            now = before + 1 if word == match else max(lengths[place], lengths[place - 1])
            before, lengths[place] = lengths[place], now
    return lengths[-1]


def _check(proposed: Sequence[Words], references: Sequence[Sequence[Words]]) -> None:
    if len(proposed) != len(references) or not proposed or not all(references):
        raise ValueError(
            f"There are {len(proposed)} sentences for {len(references)} photos; each photo needs a reference."
        )
