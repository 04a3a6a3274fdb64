"""The decoder process of visitors' photos: its limits, and one photo after the other."""

import io
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from PIL import Image

from annotator.errors import DemoError, UnreadableImageError
from annotator.hosted import photos as hosted_photos
from annotator.hosted.decoder import renewed
from annotator.hosted.limits import HostedLimits
from annotator.hosted.photos import PhotoIntake
from annotator.hosted.space import Space

pytestmark = pytest.mark.integration  # photos are decoded in other processes


def plain_png(width: int, height: int) -> io.BytesIO:
    """A PNG of one colour: a few kilobytes that are very many pixels."""
    data = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(data, "PNG", compress_level=9)
    return data


def head_of_png(width: int, height: int) -> bytes:
    """A PNG whose header states a size and which has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def spooled(data: bytes) -> IO[bytes]:
    """A file like that of an upload: in memory until it is large."""
    file: Any = tempfile.SpooledTemporaryFile(max_size=1_000_000)  # noqa: SIM115 - closed with the test
    file.write(data)
    return file  # type: ignore[no-any-return]


def refusal(data: bytes, **limits: Any) -> str:
    with spooled(data) as file, pytest.raises(UnreadableImageError) as caught:
        renewed(file, HostedLimits(**limits))
    return str(caught.value)


def test_a_photo_comes_back_as_a_smaller_jpeg(photo_bytes: Callable[..., bytes]) -> None:
    with spooled(photo_bytes(1)) as file:
        data = renewed(file, HostedLimits(longest_side=40))
    with Image.open(io.BytesIO(data)) as after, Image.open(io.BytesIO(photo_bytes(1))) as before:
        assert (after.format, max(after.size)) == ("JPEG", 40)
        assert after.width / after.height == pytest.approx(before.width / before.height, abs=0.05)


def test_decoding_is_limited_in_memory() -> None:
    data = plain_png(4000, 4000).getvalue()
    assert "not enough memory" in refusal(data, decoder_bytes=180_000_000)
    with spooled(data) as file:
        assert renewed(file, HostedLimits())


def test_decoding_is_limited_in_time() -> None:
    assert "too long" in refusal(plain_png(10, 10).getvalue(), decoder_seconds=0.01)


def test_a_killed_decoder_is_reported_as_an_unreadable_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "not enough memory or time" in refusal(b"x")


@pytest.mark.parametrize(("width", "is_too_large"), [(5000, False), (5005, True)])
def test_more_pixels_than_the_demo_s_limit_are_not_decoded(width: int, is_too_large: bool) -> None:
    assert ("megapixels" in refusal(head_of_png(width, 5000))) == is_too_large


def test_the_limit_of_pixels_is_the_one_that_is_set(photo_bytes: Callable[..., bytes]) -> None:
    assert "megapixels" in refusal(plain_png(400, 300).getvalue(), max_photo_pixels=100_000)


@pytest.fixture
def space(tmp_path: Path) -> Space[Any]:
    made: Space[Any] = Space("space-1", tmp_path / "space", "", 0.0, 0.0)
    made.photos_path.mkdir(parents=True)
    return made


def test_photos_are_decoded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, seen = threading.Lock(), [0]

    def decode(file: IO[bytes], limits: HostedLimits) -> bytes:
        is_alone = lock.acquire(blocking=False)
        seen[0] += is_alone
        time.sleep(0.01)  # long enough for another decoder to start, if it could
        if is_alone:
            lock.release()
        return b"x"

    monkeypatch.setattr(hosted_photos, "renewed", decode)
    intake = PhotoIntake(HostedLimits())
    futures = [intake.renew(io.BytesIO(), 0) for _ in range(20)]
    assert [future.result(timeout=60) for future in futures] == [b"x"] * 20
    assert seen == [20]
    intake.close()


def test_an_upload_reserves_a_place_and_releases_it(space: Space[Any]) -> None:
    intake = PhotoIntake(HostedLimits(num_photos=2, uploads_at_once=5))
    intake.keep(space, b"first", "first.jpg")
    with intake.arriving(space):
        with pytest.raises(DemoError, match="holds 2 photos"), intake.arriving(space):
            pass
        with pytest.raises(DemoError, match="holds 2 photos"):
            intake.add_samples(space)
        intake.keep(space, b"second", "second.jpg")
    with pytest.raises(DemoError, match="holds 2 photos"):
        intake.keep(space, b"third", "third.jpg")
    assert space.num_arriving == 0
    intake.close()


def test_the_uploads_of_a_space_at_a_time_are_limited(space: Space[Any]) -> None:
    intake = PhotoIntake(HostedLimits(uploads_at_once=1))
    with intake.arriving(space), pytest.raises(DemoError, match="are arriving"), intake.arriving(space):
        pass
    with pytest.raises(RuntimeError), intake.arriving(space):
        raise RuntimeError
    with intake.arriving(space):
        assert space.num_arriving == 1
    intake.close()
