"""Shards one after the other, from a folder or an object store: memory and disk hold one of them at a time.

Knows nothing of what is read from them.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotator.datasets.folder_store import FolderStore, ObjectStore
from annotator.errors import RemoteError, ShardError
from annotator.storage.shard_table import ShardTable
from annotator.storage.shards import MANIFEST, MAX_MANIFEST_BYTES, ShardFolder, ShardsAbout

MAX_SHARD_BYTES = 2_000_000_000


@contextmanager
def stream_shards(store: ObjectStore) -> Iterator[tuple[ShardsAbout, Iterator[ShardTable]]]:
    """Yield what was read into shards, and the shards in turn, each compared with the manifest.

    Args:
        store: A folder that `annotator embed` wrote, or a copy of one in an object store.

    Raises:
        ShardError: There are none, or one is missing, damaged or changed.
        RemoteError: The store does not answer, or refuses.
    """
    if isinstance(store, FolderStore):
        shards = ShardFolder.open(store.url)
        yield shards.about, (shards.shard(number) for number in shards.numbers())
        return
    with tempfile.TemporaryDirectory(prefix="annotator-") as name:
        folder = Path(name)
        _fetch(store, MANIFEST, folder, MAX_MANIFEST_BYTES)
        shards = ShardFolder.open(folder)
        yield shards.about, _fetched(store, shards)


def _fetched(store: ObjectStore, shards: ShardFolder) -> Iterator[ShardTable]:
    for number in shards.numbers():
        name = f"shard-{number:05}.parquet"
        _fetch(store, name, shards.folder, MAX_SHARD_BYTES)
        yield shards.shard(number)
        (shards.folder / name).unlink()


def _fetch(store: ObjectStore, name: str, folder: Path, max_bytes: int) -> None:
    try:
        data = store.read(name, max_bytes)
    except RemoteError as error:
        if error.is_missing:
            raise ShardError(f"{store.url} holds no shards, or lacks one: {name} is not there.") from error
        raise
    if len(data) > max_bytes:
        raise ShardError(f"{store.url}/{name} is larger than any file of `annotator embed`.")
    try:
        (folder / name).write_bytes(data)
    except OSError as error:
        raise ShardError(f"{name} cannot be copied to {folder}: {error.strerror}.") from error
