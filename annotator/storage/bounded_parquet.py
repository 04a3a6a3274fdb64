"""Reads a Parquet file of somebody else into memory, within bounds.

A Parquet file of a few kilobytes can hold gigabytes: it is packed, and a long value that comes often is stored once.
Knows nothing of what the columns mean.
"""

from typing import Any

from annotator.datasets.formats.parquet import load_pyarrow
from annotator.errors import ShardError

MAX_BYTES, MAX_RATIO = 500_000_000, 50
"""Most bytes of a table in memory: so many, or so many times its file, whichever is more."""
ROWS_AT_ONCE = 256


def read_bounded(data: bytes, schema: Any, name: str) -> Any:
    """Return the table of a file.

    Args:
        data: The file.
        schema: Of the table, an Arrow schema.
        name: Of the file, for messages.

    Raises:
        ShardError: It is no Parquet file, has other columns, or is too large once it is unpacked.
    """
    pa = load_pyarrow()
    most = max(MAX_BYTES, MAX_RATIO * len(data))
    too_large = ShardError(f"{name} has more than {most:,} bytes once it is unpacked, more than any shard.")
    try:
        with pa.parquet.ParquetFile(pa.BufferReader(data)) as file:
            if not file.schema_arrow.equals(schema):
                raise ShardError(f"{name} does not have the columns of a shard of this version.")
            about = file.metadata
            if sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups)) > most:
                raise too_large
            batches, num_bytes = [], 0
            for batch in file.iter_batches(ROWS_AT_ONCE):
                num_bytes += batch.nbytes
                if num_bytes > most:
                    raise too_large
                batches.append(batch)
        table = pa.Table.from_batches(batches, schema)
        table.validate(full=True)  # texts are UTF-8
    except (pa.ArrowException, OSError, MemoryError) as error:
        first = str(error).partition("\n")[0]
        raise ShardError(f"{name} is no Parquet file that `annotator embed` writes: {first}") from error
    return table
