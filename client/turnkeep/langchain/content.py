"""A message's content: LangChain's blocks ↔ the wire's parts."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turnkeep.messages import ContentPart, FilePart, ImagePart, TextPart

Content = str | list[str | dict[Any, Any]]

# turnkeep.v1.Message.parts, File.name and File.media_type.
MAX_PARTS = 64
MAX_FILE_NAME_CHARACTERS = 256
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.ASCII)


def to_parts(content: Sequence[Any]) -> tuple[ContentPart, ...]:
    """What of a list of blocks the wire can say, for a model that knows nothing of LangChain.

    Text, images and files, in the forms of LangChain, OpenAI and Anthropic. The rest (reasoning,
    audio, a provider's own blocks) no model of another provider would take.
    """
    return tuple(part for block in content for part in _parts(block))[:MAX_PARTS]


def from_parts(text: str, parts: Sequence[ContentPart]) -> Content:
    """The content of a message, in the form that any LangChain model takes."""
    return [_block(each) for each in parts] if parts else text


def valid_text(text: str) -> str:
    """`text` as the wire takes it: half a surrogate pair, which models emit, becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _block(part: ContentPart) -> str | dict[Any, Any]:
    match part:
        case TextPart(text):
            return {"type": "text", "text": text}
        case ImagePart(url):
            return {"type": "image_url", "image_url": {"url": url}}
        case FilePart(name, media_type, data):
            url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
            return {"type": "file", "file": {"filename": name, "file_data": url}}


def _parts(block: str | Mapping[str, Any]) -> Iterator[ContentPart]:
    """One part, or none."""
    match block:
        case str(text) | {"type": "text", "text": str(text)} if text:
            yield TextPart(valid_text(text))
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            yield from _image(url)
        case {"type": "image", "base64": str(data), "mime_type": str(media_type)}:
            yield from _image(f"data:{media_type};base64,{data}")
        case {"type": "image", "source": {"data": str(data), "media_type": str(media_type)}}:
            yield from _image(f"data:{media_type};base64,{data}")
        case {"type": "image", "url": str(url)} | {"type": "image", "source": {"url": str(url)}}:
            yield from _image(url)
        case {"type": "file", "file": {"file_data": str(url), **rest}}:
            yield from _file(rest.get("filename"), url)
        case {"type": "file", "base64": str(data), "mime_type": str(media_type), **rest}:
            yield from _file(rest.get("filename"), f"data:{media_type};base64,{data}")
        case {
            "type": "document",
            "source": {"data": str(data), "media_type": str(media_type)},
            **rest,
        }:
            yield from _file(rest.get("title"), f"data:{media_type};base64,{data}")


def _image(url: str) -> Iterator[ContentPart]:
    if url.startswith(("https://", "http://", "data:")):
        yield ImagePart(valid_text(url))


def _file(name: object, url: str) -> Iterator[ContentPart]:
    """None for a file that is not there by value."""
    head = _DATA_URL.match(url)
    try:
        data = base64.b64decode(url[head.end() :], validate=True) if head else b""
    except (binascii.Error, ValueError):
        return
    if head and data:
        name = name if isinstance(name, str) else ""
        yield FilePart(valid_text(name)[:MAX_FILE_NAME_CHARACTERS], head[1], data)
