"""Several views as one backbone: what the features are, by which name they are found again, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotator.errors import BackboneError, ConfigError
from annotator.models.backbones.backbone import Backbone, load_backbone
from annotator.models.backbones.pretrained import find_architecture
from annotator.models.backbones.view_backbone import SHORT_SIDES, ViewBackbone, ViewSpec, load_view_backbone
from annotator.models.backbones.views import PhotoMap, colour_histograms

LITE0 = "efficientnet_lite0"
NAME = "views_whole+mirror+colour_of_efficientnet_lite0"


@pytest.fixture(scope="module")
def loaded() -> ViewBackbone:
    return load_view_backbone(["whole", "mirror", "colour"], [LITE0])


def test_the_features_are_the_views_one_after_the_other(
    loaded: ViewBackbone, make_photo: Callable[[str], Image.Image]
) -> None:
    photo = make_photo("china.jpg")
    expected = [PhotoMap(LITE0, SHORT_SIDES[LITE0]).view(photo), *colour_histograms(photo)]
    found = loaded.preprocess(photo)
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-6)
    assert [part.size for part in loaded.parts] == [len(part) for part in expected]
    assert [part.weight for part in loaded.parts] == [1.0, 0.4, 0.4, 0.4]
    assert loaded.feature_size == len(found)


def test_photos_of_any_aspect_make_a_batch(loaded: ViewBackbone, make_photo: Callable[[str], Image.Image]) -> None:
    photos = [make_photo("china.jpg"), make_photo("china.jpg").rotate(90, expand=True), make_photo("chelsea.png")]
    batch = np.stack([loaded.preprocess(photo) for photo in photos])
    np.testing.assert_array_equal(loaded.extract(batch), batch)
    with pytest.raises(ValueError, match="needs views of"):
        loaded.extract(batch[:, :-1])


def test_without_the_mirror_image_the_view_is_another(
    loaded: ViewBackbone, make_photo: Callable[[str], Image.Image]
) -> None:
    alone = load_view_backbone(["whole", "colour"], [LITE0])
    photo = make_photo("flower.jpg")
    size = alone.parts[0].size
    assert np.abs(alone.preprocess(photo)[:size] - loaded.preprocess(photo)[:size]).max() > 1e-3
    assert alone.version != loaded.version


def test_the_crop_is_that_of_the_backbone(backbone: Backbone, make_photo: Callable[[str], Image.Image]) -> None:
    photo = make_photo("flower.jpg")
    found = load_view_backbone(["crop"], [LITE0], num_threads=1).preprocess(photo)
    expected = np.sqrt(np.maximum(backbone.extract(backbone.preprocess(photo)[None])[0], 0))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_its_name_finds_it_again(loaded: ViewBackbone) -> None:
    again = load_backbone(NAME)
    assert (again.name, again.version, again.feature_size) == (loaded.name, loaded.version, loaded.feature_size)
    assert loaded.name == NAME
    assert Path(NAME).name == NAME  # it can be part of a file's name
    both = ViewSpec(("whole",), (LITE0, "efficientnet_lite2"))
    assert ViewSpec.from_name(both.name) == both
    assert [part.name for part in both.parts] == ["efficientnet_lite0 whole", "efficientnet_lite2 whole"]


def test_it_has_no_map_and_no_classes(loaded: ViewBackbone) -> None:
    assert not loaded.has_map
    assert not loaded.classify(np.ones((2, loaded.feature_size), np.float32)).any()
    with pytest.raises(BackboneError, match="no feature map"):
        loaded.feature_map(np.zeros((8, 8, 3), np.uint8))


def test_a_project_is_told_that_it_cannot_use_it() -> None:
    with pytest.raises(BackboneError, match="a project does not compute"):
        find_architecture(NAME)


@pytest.mark.parametrize(
    ("views", "networks", "message"),
    [
        (["hole"], [LITE0], "no view 'hole'. Choose among: whole, mirror, crop, colour"),
        (["whole"], ["resnet50"], "no network of views 'resnet50'"),
        (["whole", "whole"], [LITE0], "named twice: whole, whole"),
        (["mirror"], [LITE0], "averaged with the view whole"),
        ([""], [LITE0], "no view ''"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(views: list[str], networks: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_view_backbone(views, networks)
