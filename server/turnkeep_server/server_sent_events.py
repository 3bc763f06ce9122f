"""Server-sent events, as a model's stream comes: bytes in, the data of whole events out. Pure.

By the standard's rules (https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6), but
for the fields that chat completions have no use for: event, id and retry are passed over.
"""


class EventData:
    """The data of a stream's events; how the bytes are cut into pieces makes no difference."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # a line that has not ended yet
        self._data: list[bytes] = []  # of an event that has not ended yet
        self._after_return = False

    def feed(self, piece: bytes) -> list[bytes]:
        """What the events say that end in this piece; an event without data says nothing."""
        if self._after_return and piece:
            self._after_return = False
            piece = piece.removeprefix(b"\n")  # the second half of a line's end
        if not piece:
            return []
        self._after_return = piece.endswith(b"\r")
        first, *lines = piece.splitlines(keepends=True)
        self._line.append(first)
        ended: list[bytes] = []
        for line in lines:
            self._end_line(ended)
            self._line.append(line)
        if piece.endswith((b"\n", b"\r")):
            self._end_line(ended)
        return ended

    def _end_line(self, ended: list[bytes]) -> None:
        line = b"".join(self._line).rstrip(b"\r\n")
        self._line.clear()
        if not line:
            if self._data:
                ended.append(b"\n".join(self._data))
                self._data.clear()
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
