"""What one stream has received and not read, and what it is to send. Sans-IO.

Both keep the pieces they are given instead of copying them together, because that copy would be the
second for every byte. Small received pieces are merged: a peer that sends its window in frames of a
byte each must not make us hold an object for each.
"""

from __future__ import annotations

_MERGED_BYTES = 1024  # smaller pieces join the one before them, if that has not been read yet
_MERGED_BYTES_MAX = 32 << 10
_COPIED_BYTES_MAX = 4 << 10  # to copy this much costs less than a view of it, which is copied in the end
_TAKEN_BYTES = 64 << 10  # what one `take` joins at most; larger copies come from fresh pages, slowly


class ReceiveBuffer:
    """Bytes in, in order, out. `size` is how many are held."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray | memoryview] = []
        self.size = 0

    def put(self, data: bytes, start: int, end: int) -> None:
        """Add `data[start:end]`, not empty."""
        pieces = self._pieces
        size = end - start
        self.size += size
        if size > _COPIED_BYTES_MAX and size << 1 > len(data):
            pieces.append(memoryview(data)[start:end])  # holds on to less than twice its size
        elif not pieces or size >= _MERGED_BYTES:
            pieces.append(data[start:end])
        else:
            last = pieces[-1]
            if type(last) is bytearray and len(last) < _MERGED_BYTES_MAX:
                last += data[start:end]
            else:
                pieces.append(bytearray(data[start:end]))

    def take(self, size_max: int | None = None) -> bytes:
        """Remove and return some bytes, at most `size_max`; b"" only if none are held."""
        pieces = self._pieces
        if not pieces:
            return b""
        first = pieces[0]
        if len(pieces) == 1 and (size_max is None or len(first) <= size_max):
            self.size = 0
            pieces.clear()
            return first if type(first) is bytes else bytes(first)
        if size_max is not None and len(first) > size_max:
            view = memoryview(first)
            pieces[0] = view[size_max:]
            self.size -= size_max
            return bytes(view[:size_max])
        wanted = _TAKEN_BYTES if size_max is None else size_max
        size, count = len(first), 1
        while count < len(pieces) and size + len(pieces[count]) <= wanted:
            size += len(pieces[count])
            count += 1
        taken = bytes(first) if count == 1 else b"".join(pieces[:count])
        del pieces[:count]
        self.size -= size
        return taken

    def clear(self) -> int:
        """Drop everything; return how much that was."""
        size, self.size = self.size, 0
        self._pieces.clear()
        return size


class SendQueue:
    """Bytes to be sent. `size` is how many."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | memoryview] = []
        self.size = 0

    def put(self, data: bytes) -> None:
        self._pieces.append(data)
        self.size += len(data)

    def take_into(self, parts: list[bytes | memoryview], size: int) -> None:
        """Move the first `size` bytes, no more than are held, to the end of `parts`."""
        pieces = self._pieces
        self.size -= size
        whole = 0
        while size:
            piece = pieces[whole]
            length = len(piece)
            if length > size:
                view = memoryview(piece)
                parts.append(view[:size])
                pieces[whole] = view[size:]
                break
            parts.append(piece)
            size -= length
            whole += 1
        if whole:
            del pieces[:whole]

    def clear(self) -> int:
        """Drop everything; return how much that was."""
        size, self.size = self.size, 0
        self._pieces.clear()
        return size
