"""Lines of label files: boxes, polygons and landmarks of detectors, which are no tags.

Such a file beside a photo may be of YOLO, KITTI, DOTA, ICDAR, MOT, VisDrone, a table with boxes, or a list of
landmarks. Knows nothing of files on disk.
"""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan", re.IGNORECASE)
_SPACED_NUMBER = r"\s+[+-]?\d*\.?\d+"
_MIN_NUMBERS = 4  # a box has four
_MIN_WHOLE_NUMBERS = 6  # of a line with commas; fewer whole numbers may be tags
_NAMED_BOX = re.compile(rf"[^\W\d][^\d,;]{{0,60}}?((?:{_SPACED_NUMBER}){{4,}})(?:\s+difficult)?\s*")
# traffic light 0.5 0.5 0.2 0.3
_BOX_OF_TEXT = re.compile(r"((?:[+-]?\d+,){4,})[^,\d\s][^,]*|((?:[+-]?\d+,){8})\D.*")  # 38,43,920,215,exit
_HEADER = re.compile(r"(?:imagesource|gsd)\s*:.*|#\s.*", re.IGNORECASE)  # of DOTA; a comment
_COLUMN_NAMES = """
    angle area bbox bottom category class class_id classid conf confidence cx cy difficult file filename frame h
    height id image label left name object occluded prob probability right score top truncated w width x x1 x2
    x_center x_max x_min xc xcenter xmax xmin y y1 y2 y_center y_max y_min yc ycenter ymax ymin
"""
_COLUMNS = frozenset(_COLUMN_NAMES.split())  # in the header of a table of boxes
_YEARS = range(1800, 2101)


def without_labels(lines: Sequence[str]) -> tuple[list[str], bool]:
    """Return the lines that are no labels of a detector, and whether there were labels.

    Args:
        lines: Of a text file.
    """
    is_label = list(map(_is_label, lines))
    written = [line for line in lines if line.strip()]
    if len(written) > 1 and all(map(_is_landmark, written)):
        return [], True
    if not any(is_label):
        return list(lines), False
    rest = [line for line, own in zip(lines, is_label, strict=True) if not own]
    return [line for line in rest if not _HEADER.fullmatch(line.strip()) and not _names_columns(line)], True


def _is_label(line: str) -> bool:
    """Tell whether a line holds the numbers of a box at least, and few words."""
    line = line.strip(" \t,;[]()")
    named, of_text = _NAMED_BOX.fullmatch(line), _BOX_OF_TEXT.fullmatch(line)
    if (named and not _are_years(named[1].split())) or (
        of_text and not _are_years((of_text[1] or of_text[2]).strip(",").split(","))
    ):
        return True
    tokens = [token.strip("\"'") for token in re.split(r"[\s,;]+", line)]
    numbers = [token for token in tokens if _NUMBER.fullmatch(token)]
    if len(numbers) < _MIN_NUMBERS or len(tokens) - len(numbers) > 1 or _are_years(numbers):
        return False
    has_commas = "," in line
    return not has_commas or any("." in token for token in numbers) or len(numbers) >= _MIN_WHOLE_NUMBERS


def _is_landmark(line: str) -> bool:
    """Tell whether a line holds the coordinates of a point: two numbers or more, of which one has a fraction."""
    tokens = line.split()
    return len(tokens) > 1 and all(map(_NUMBER.fullmatch, tokens)) and "." in line


def _are_years(numbers: Sequence[str]) -> bool:
    return all(number.isdigit() and int(number) in _YEARS for number in numbers if len(number) < 10)


def _names_columns(line: str) -> bool:
    words = re.split(r"[\s,;]+", line.strip(" \t,;#").casefold())
    return len(words) >= _MIN_NUMBERS and all(word in _COLUMNS for word in words)
