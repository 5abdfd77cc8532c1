"""Arrow's IPC stream from somebody we do not trust: nothing in it may grow when it is read.

Compressed buffers, dictionaries and views let a small body name an endless table, so they are
refused before they are read. What is left is as large as the body, and every offset is checked.
"""

import struct
from collections.abc import Callable, Iterator

import pyarrow as pa

from app.core.errors import ValidationFailed

MEDIA_TYPE = "application/vnd.apache.arrow.stream"

# Places in the flatbuffers of Arrow's Message.fbs.
HEADER_OF_MESSAGE = 2
COMPRESSION_OF_BATCH = 3


def read_stream(body: bytes, check_schema: Callable[[pa.Schema], None]) -> pa.Table:
    """Read a whole stream of plain record batches; `check_schema` refuses before data is read."""
    try:
        return _read(body, check_schema)
    except (pa.ArrowException, ValueError, IndexError, struct.error, OSError) as error:
        raise refused("arrow_malformed") from error


def _read(body: bytes, check_schema: Callable[[pa.Schema], None]) -> pa.Table:
    messages = _messages(body)
    first = next(messages, None)
    if first is None or first.type != "schema":
        raise refused("arrow_malformed")
    schema = pa.ipc.read_schema(first)
    check_schema(schema)
    batches = []
    for message in messages:
        if message.type != "record batch":
            raise refused("arrow_dictionary")
        if is_compressed(message.metadata.to_pybytes()):
            raise refused("arrow_compressed")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        batches.append(batch)
    return pa.Table.from_batches(batches, schema)


def _messages(body: bytes) -> Iterator[pa.ipc.Message]:
    """Yield the messages; a StopIteration that left a thread would hang who awaits it."""
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        yield message


def refused(kind: str) -> ValidationFailed:
    """Say what is wrong with the stream as a whole."""
    return ValidationFailed(errors=[{"loc": ["body"], "type": kind}])


def is_compressed(metadata: bytes) -> bool:
    """Say whether the buffers of a record batch are compressed, from its flatbuffer alone."""
    message = _u32(metadata, 0)
    header = _field(metadata, message, HEADER_OF_MESSAGE)
    if header is None:
        raise ValueError("a message without a header")
    batch = header + _u32(metadata, header)
    return _field(metadata, batch, COMPRESSION_OF_BATCH) is not None


def _field(data: bytes, table: int, number: int) -> int | None:
    """Return where a table keeps a field, or None where it does not have it."""
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    size = int(struct.unpack_from("<H", data, vtable)[0])
    slot = 4 + 2 * number
    if vtable < 0 or slot + 2 > size:
        return None
    offset = int(struct.unpack_from("<H", data, vtable + slot)[0])
    return table + offset if offset else None


def _u32(data: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", data, place)[0])
