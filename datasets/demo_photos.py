"""Demo photos: the photographs that the packages scikit-image and scikit-learn contain.

Only colour photos of real scenes: no drawings, textures or microscopy. Knows nothing of projects.
"""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from annotator.errors import ConfigError

_PHOTOS = (
    # name in the demo folder, package, path inside of it
    ("astronaut.png", "skimage", "data/astronaut.png"),
    ("chelsea.png", "skimage", "data/chelsea.png"),
    ("coffee.png", "skimage", "data/coffee.png"),
    ("motorcycle_left.png", "skimage", "data/motorcycle_left.png"),
    ("hubble_deep_field.jpg", "skimage", "data/hubble_deep_field.jpg"),
    ("rocket.jpg", "skimage", "data/rocket.jpg"),
    ("china.jpg", "sklearn", "datasets/images/china.jpg"),
    ("flower.jpg", "sklearn", "datasets/images/flower.jpg"),
)
_PIP_NAMES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


def demo_photos() -> list[tuple[str, Path]]:
    """Return each demo photo's name in the demo folder and its path in its package.

    Raises:
        ConfigError: A package is not installed.
    """
    return [(name, _package_folder(package) / inside) for name, package, inside in _PHOTOS]


def copy_demo_photos(folder: Path) -> list[Path]:
    """Copy the demo photos into a folder, which is created if needed; existing files are not overwritten.

    Args:
        folder: Target folder.

    Returns:
        The paths of the copies.

    Raises:
        ConfigError: A package or a photo is missing, or the folder cannot be written.
    """
    photos = demo_photos()
    copies = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in photos:
            copy = folder / name
            if not copy.exists():
                # Under a hidden name first, so that no incomplete photo is visible.
                descriptor, partial = tempfile.mkstemp(prefix=".demo-", dir=folder)
                os.close(descriptor)
                try:
                    shutil.copyfile(source, partial)
                    os.chmod(partial, 0o644)
                    os.replace(partial, copy)
                except BaseException:
                    os.unlink(partial)
                    raise
            copies.append(copy)
    except FileNotFoundError as error:
        raise ConfigError(
            f"The demo photo {error.filename} is missing. Reinstall it: pip install --force-reinstall "
            f"{' '.join(_PIP_NAMES.values())}"
        ) from error
    except OSError as error:
        raise ConfigError(f"The demo photos could not be copied to {folder}: {error.strerror}.") from error
    return copies


def _package_folder(package: str) -> Path:
    # find_spec, since an import takes seconds
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pip_name = _PIP_NAMES[package]
        raise ConfigError(f"The demo photos come with {pip_name}, which is missing: pip install {pip_name}")
    return Path(next(iter(spec.submodule_search_locations)))
