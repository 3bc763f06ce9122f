"""Long texts of a content that its message's parts hold already: images and files, mostly.

The metadata hold blocks that the wire's parts do not give back as they were, such as an image with
a level of detail. The bytes of the image itself, for which there is no room, stay in the part; the
metadata say where they belong.
"""

import base64
from collections.abc import Sequence
from typing import Any

from turnkeep.messages import ContentPart, FilePart, ImagePart, TextPart

MIN_CHARACTERS = 256
"""A shorter text is simply said twice."""

Loan = list[Any]
"""[where in the content (keys and indices), which part, which of its texts]."""


def lend(content: Any, parts: Sequence[ContentPart]) -> tuple[Any, list[Loan]]:
    """The content with None for each long text that a part holds, and the loans to put it back."""
    lenders = {
        text: (index, form)
        for index, part in enumerate(parts)
        for form, text in _texts(part).items()
        if len(text) >= MIN_CHARACTERS
    }
    loans: list[Loan] = []

    def without(value: Any, path: list[str | int]) -> Any:
        if isinstance(value, str) and value in lenders:
            loans.append([path, *lenders[value]])
            return None
        if isinstance(value, list):
            return [without(each, [*path, i]) for i, each in enumerate(value)]
        if isinstance(value, dict):
            return {key: without(each, [*path, key]) for key, each in value.items()}
        return value

    return (without(content, []) if lenders else content), loans


def put_back(content: Any, loans: Sequence[Loan], parts: Sequence[ContentPart]) -> None:
    """Puts the texts back into `content`. Raises ValueError for loans that do not fit."""
    try:
        for (*path, last), index, form in loans:
            place = content
            for key in path:
                place = place[key]
            place[last] = _texts(parts[index])[form]
    except (LookupError, TypeError) as error:
        raise ValueError(f"a content and its parts do not fit together: {error}") from error


def _texts(part: ContentPart) -> dict[str, str]:
    match part:
        case TextPart(text):
            return {"text": text}
        case ImagePart(url):
            return {"url": url, "base64": url.partition(";base64,")[2]}
        case FilePart(_, media_type, data):
            encoded = base64.b64encode(data).decode()
            return {"url": f"data:{media_type};base64,{encoded}", "base64": encoded}
