"""IPTC-IIM: the keywords and the caption of a photo. Knows nothing of the files that hold the datasets."""

import struct
from dataclasses import dataclass

from annotator.datasets.text_encodings import decode_values


@dataclass(frozen=True)
class IptcFields:
    """The IPTC fields of a photo."""

    keywords: tuple[str, ...] = ()
    caption: str | None = None
    notes: tuple[str, ...] = ()


def parse_iptc(data: bytes) -> IptcFields:
    """Read keywords (2:25) and caption (2:120) from IPTC-IIM datasets, in the declared or the likeliest encoding."""
    keywords: list[bytes] = []
    caption: bytes | None = None
    character_set = b""
    notes: tuple[str, ...] = ()
    position = 0
    while position + 5 <= len(data) and data[position] == 0x1C:
        record, dataset, size = struct.unpack_from(">BBH", data, position + 1)
        position += 5
        if size & 0x8000:  # an extended dataset: the low bits give the number of bytes of the size
            num_size_bytes = size & 0x7FFF
            size = int.from_bytes(data[position : position + num_size_bytes][:8], "big")
            position += num_size_bytes
        if position + size > len(data):
            notes = ("The IPTC data is truncated.",)
            break
        value = data[position : position + size]
        match (record, dataset):
            case (1, 90):
                character_set = value
            case (2, 25):
                keywords.append(value)
            case (2, 120) if caption is None:
                caption = value
        position += size
    texts = decode_values([*keywords, caption or b""], character_set)
    return IptcFields(keywords=tuple(texts[:-1]), caption=None if caption is None else texts[-1], notes=notes)
