import contextlib
import io
import shutil
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from annotator.datasets.image_folder import decode_image
from annotator.errors import UnknownImageError, UnreadableImageError
from annotator.ingest import pictures as pictures_module
from annotator.ingest.pictures import DISPLAY_SIZE, Pictures
from annotator.models.backbones.backbone import Backbone
from annotator.proposals.heatmap import HeatMapper

Make = Callable[..., Any]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def ingested(make_ingesting: Make, photos: Path) -> Callable[..., tuple[Any, Pictures]]:
    def make(**files: bytes) -> tuple[Any, Pictures]:
        for name, data in files.items():
            (photos / name.replace("_", ".")).write_bytes(data)
        ingesting = make_ingesting()
        ingesting.run(photos)
        return ingesting, Pictures(ingesting.project, ingesting.store)

    return make


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decode(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("format", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("AVIF", "image/avif"),
    ],
)
def test_a_photo_that_browsers_can_show_is_sent_as_it_is(
    ingested: Make, photo_bytes: Callable[..., bytes], format: str, media_type: str
) -> None:
    data = photo_bytes(1, format)
    _, pictures = ingested(a_jpg=data)
    for full in (False, True):
        picture = pictures.photo(1, full=full)
        assert (picture.data, picture.media_type) == (data, media_type)


@pytest.mark.parametrize("format", ["TIFF", "BMP"])
def test_a_photo_that_browsers_cannot_show_becomes_a_jpeg_upright_and_whole(
    ingested: Make, photo_bytes: Callable[..., bytes], format: str
) -> None:
    _, pictures = ingested(a_jpg=photo_bytes(1, format))
    for full in (False, True):
        picture = pictures.photo(1, full=full)
        assert picture.media_type == "image/jpeg"
        assert decode(picture.data).size == (96, 80)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_deep_grey_is_shown_stretched_and_not_as_browsers_show_it(ingested: Make, format: str) -> None:
    values = np.linspace(0, 4095, 90 * 60).reshape(60, 90).astype(np.uint16)
    _, pictures = ingested(a_png=encode(Image.fromarray(values), format))
    for data in (pictures.photo(1).data, pictures.photo(1, full=True).data, pictures.thumbnail(1).data):
        assert decode(data).convert("L").getextrema()[1] > 240


def test_deep_colour_of_few_bits_is_shown_stretched(ingested: Make) -> None:
    values = np.linspace(0, 4095, 90 * 60 * 3).reshape(60, 90, 3)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 90, 60, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""),
    ]  # fmt: skip
    parts = [struct.pack(">I", len(b)) + name + b + struct.pack(">I", zlib.crc32(name + b)) for name, b in chunks]
    _, pictures = ingested(a_png=b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    for data in (pictures.photo(1).data, pictures.photo(1, full=True).data, pictures.thumbnail(1).data):
        assert decode(data).convert("L").getextrema()[1] > 240


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_thumbnail_never_carries_a_large_profile(ingested: Make, mode: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = (len(profile) + 500_000).to_bytes(4, "big") + profile[4:] + bytes(500_000)
    _, pictures = ingested(
        a_png=encode(Image.new("RGB", (90, 60), (200, 30, 30)).convert(mode), "PNG", icc_profile=profile)
    )
    assert len(pictures.thumbnail(1).data) < 5_000


def test_a_large_photo_is_shown_smaller_and_zoomed_in_full(ingested: Make) -> None:
    large = Image.effect_noise((3000, 1500), 40)
    data = encode(large, "JPEG")
    ingesting, pictures = ingested(a_jpg=data)
    shown = pictures.photo(1)
    assert decode(shown.data).size == (DISPLAY_SIZE, DISPLAY_SIZE // 2)
    assert pictures.photo(1, full=True).data == data
    kept = list(ingesting.project.thumbnails_path.glob("??/*.display.jpg"))
    assert [path.read_bytes() for path in kept] == [shown.data]
    assert pictures.photo(1).data == shown.data


def test_a_picture_longer_than_a_jpeg_can_be_is_still_shown(ingested: Make) -> None:
    _, pictures = ingested(a_bmp=encode(Image.new("RGB", (70_000, 2)), "BMP"))
    assert decode(pictures.photo(1).data).width == DISPLAY_SIZE
    assert decode(pictures.photo(1, full=True).data).width == 65_000


def test_a_missing_thumbnail_is_made_again(ingested: Make, photo_bytes: Callable[..., bytes]) -> None:
    ingesting, pictures = ingested(a_jpg=photo_bytes(1))
    before = pictures.thumbnail(1)
    shutil.rmtree(ingesting.project.thumbnails_path)
    assert pictures.thumbnail(1).data == before.data
    assert len(list(ingesting.project.thumbnails_path.glob("??/*.jpg"))) == 1


def test_a_thumbnail_that_cannot_be_kept_is_sent_all_the_same(
    ingested: Make, photo_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingesting, pictures = ingested(a_jpg=photo_bytes(1))
    shutil.rmtree(ingesting.project.thumbnails_path)
    ingesting.project.thumbnails_path.write_text("in the way")
    assert decode(pictures.thumbnail(1).data).size == (96, 80)


def test_an_unknown_image_has_no_picture(ingested: Make) -> None:
    _, pictures = ingested()
    for ask in (pictures.photo, pictures.thumbnail):
        with pytest.raises(UnknownImageError):
            ask(1)


def test_a_photo_whose_file_is_gone_keeps_its_thumbnail(
    ingested: Make, photos: Path, photo_bytes: Callable[..., bytes]
) -> None:
    _, pictures = ingested(a_jpg=photo_bytes(1))
    (photos / "a.jpg").unlink()
    with pytest.raises(UnreadableImageError, match="image 1 is gone or has changed"):
        pictures.photo(1)
    assert decode(pictures.thumbnail(1).data).size == (96, 80)


def test_another_path_of_the_same_photo_takes_over(
    ingested: Make, photos: Path, photo_bytes: Callable[..., bytes]
) -> None:
    data = photo_bytes(1)
    _, pictures = ingested(a_jpg=data, b_jpg=data)
    (photos / "a.jpg").unlink()
    assert pictures.photo(1).data == data


def test_a_link_put_in_the_photos_place_does_not_lead_out_of_the_folder(
    ingested: Make, photos: Path, tmp_path: Path, photo_bytes: Callable[..., bytes]
) -> None:
    data = photo_bytes(1)
    _, pictures = ingested(a_jpg=data)
    # Even the very same bytes: what lies outside of the folder is none of the server's business.
    for content in (b"secret", data):
        outside = tmp_path / "secret.jpg"
        outside.write_bytes(content)
        (photos / "a.jpg").unlink()
        (photos / "a.jpg").symlink_to(outside)
        with pytest.raises(UnreadableImageError):
            pictures.photo(1, full=True)


def test_a_folder_replaced_by_a_link_does_not_lead_out_either(
    make_ingesting: Make, photos: Path, tmp_path: Path, photo_bytes: Callable[..., bytes]
) -> None:
    (photos / "sub").mkdir()
    (photos / "sub" / "a.jpg").write_bytes(photo_bytes(1))
    ingesting = make_ingesting()
    ingesting.run(photos)
    (photos / "sub").rename(tmp_path / "elsewhere")
    (photos / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnreadableImageError):
        Pictures(ingesting.project, ingesting.store).photo(1)


@pytest.mark.parametrize("content", [b"<html><script>alert(1)</script></html>", b""])
def test_a_file_that_was_replaced_is_not_sent(
    ingested: Make, photos: Path, photo_bytes: Callable[..., bytes], content: bytes
) -> None:
    ingesting, pictures = ingested(a_jpg=photo_bytes(1))
    for replacement in (content, photo_bytes(2)):  # not even by another photo: the address stands for the first
        (photos / "a.jpg").write_bytes(replacement)
        with pytest.raises(UnreadableImageError):
            pictures.photo(1)
    shutil.rmtree(ingesting.project.thumbnails_path)
    with pytest.raises(UnreadableImageError):
        pictures.thumbnail(1)


def test_two_requests_for_a_missing_rendition_both_get_it(
    ingested: Make, photo_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    ingesting, pictures = ingested(a_jpg=photo_bytes(1))
    shutil.rmtree(ingesting.project.thumbnails_path)
    barrier, results = threading.Barrier(4), []

    def ask() -> None:
        barrier.wait(10)
        results.append(pictures.thumbnail(1).data)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(set(results)) == 1


@pytest.mark.parametrize("what", ["full", "thumbnail", "display", "heat map"])
def test_few_photos_are_decoded_at_once_however_many_are_asked_for(
    ingested: Make, photo_bytes: Callable[..., bytes], backbone: Backbone, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Each may take hundreds of megabytes: six calls at once must not take six times that."""
    ingesting, pictures = ingested(**{f"{number}_jpg": photo_bytes(number, "TIFF") for number in range(1, 7)})
    shutil.rmtree(ingesting.project.thumbnails_path)
    heat_mapper = HeatMapper(backbone, ingesting.features, pictures.decoded)
    ways: dict[str, Callable[[int], object]] = {
        "full": lambda image_id: pictures.photo(image_id, full=True),
        "thumbnail": pictures.thumbnail,
        "display": pictures.photo,
        "heat map": heat_mapper._map,
    }
    third, num_now, most = threading.Barrier(3), 0, 0
    lock = threading.Lock()

    def decode(*arguments: Any, **options: Any) -> Any:
        nonlocal num_now, most
        with lock:
            num_now += 1
            most = max(most, num_now)
        with contextlib.suppress(threading.BrokenBarrierError):
            third.wait(0.5)  # time for a third to come in
        try:
            return decode_image(*arguments, **options)
        finally:
            with lock:
                num_now -= 1

    monkeypatch.setattr(pictures_module, "decode_image", decode)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(ways[what], range(1, 7)))
    assert len(results) == 6
    assert most == 2


def test_what_was_made_while_a_call_waited_is_not_made_again(
    ingested: Make, photo_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingesting, pictures = ingested(a_jpg=photo_bytes(1))
    shutil.rmtree(ingesting.project.thumbnails_path)
    monkeypatch.setattr(pictures_module, "DECODING", pictures_module.DecodingBudget(at_once=1))
    decoded = []

    def decode(*arguments: Any, **options: Any) -> Any:
        decoded.append(1)
        return decode_image(*arguments, **options)

    monkeypatch.setattr(pictures_module, "decode_image", decode)
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: pictures.thumbnail(1).data, range(6)))) == 1
    assert decoded == [1]
