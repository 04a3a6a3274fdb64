"""Decodes a visitor's photo in a process of its own, with limits of memory and time.

`python -m annotator.hosted.decoder SIDE PIXELS BYTES SECONDS` reads a file from its standard input and writes the JPEG
to store, or, with exit code 3, the reason why the file is refused. Knows nothing of spaces or HTTP.
"""

import os
import resource
import subprocess
import sys
from typing import IO

from annotator.datasets.image_folder import decode_image
from annotator.errors import UnreadableImageError
from annotator.hosted.limits import HostedLimits
from annotator.ingest.renditions import encode_jpeg

REFUSED = 3
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "LANG", "LD_LIBRARY_PATH")
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # each thread reserves memory


def renewed(file: IO[bytes], limits: HostedLimits) -> bytes:
    """Return a photo as a JPEG of the stored size, with no other content of the file but a small colour profile.

    Args:
        file: A real file, read from its beginning; it is never loaded into this process's memory.
        limits: Sizes, and the memory (bytes) and time (seconds) of the process.

    Raises:
        UnreadableImageError: It is no picture, damaged, too large, or needs too much memory or time.
    """
    descriptor = file.fileno()  # comes first: it turns a spooled file into a real one
    file.flush()
    os.lseek(descriptor, 0, os.SEEK_SET)
    sizes = (limits.longest_side, limits.max_photo_pixels, limits.decoder_bytes, round(limits.decoder_seconds))
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "annotator.hosted.decoder", *map(str, sizes)],
            stdin=descriptor, capture_output=True, timeout=limits.decoder_seconds, env={**environment, **_THREADS},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UnreadableImageError("It takes too long to decode this picture. Save a smaller copy.") from error
    if done.returncode == REFUSED:
        raise UnreadableImageError(done.stdout.decode("utf-8", "replace"))
    if done.returncode != 0 or not done.stdout:
        raise UnreadableImageError("There is not enough memory or time to decode this picture. Save a smaller copy.")
    return done.stdout


def renew(data: bytes, longest_side: int, max_pixels: int) -> bytes:
    """Decode a file within limits and return its pixels as a new JPEG.

    Raises:
        UnreadableImageError: It is no picture, damaged, or too large.
    """
    # A JPEG is decoded at half size or less if its short side then still has half of the wanted long side.
    decoded = decode_image(data, min_side=longest_side // 2, max_pixels=max_pixels)
    decoded.image.info.clear()  # otherwise Pillow writes a comment again
    return encode_jpeg(decoded, longest_side, quality=90)


def main(arguments: list[str]) -> int:
    """Encode the file at the standard input anew; return the exit code."""
    longest_side, max_pixels, num_bytes, num_seconds = (int(argument) for argument in arguments)
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (num_seconds, num_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes to a pipe only
    os.nice(5)
    try:
        answer, code = renew(sys.stdin.buffer.read(), longest_side, max_pixels), 0
    except UnreadableImageError as error:
        answer, code = str(error).encode(), REFUSED
    except MemoryError:
        answer, code = b"There is not enough memory to decode this picture. Save a smaller copy.", REFUSED
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
