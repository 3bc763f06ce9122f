"""Any LangChain message: every class, every field, texts of every script."""

import base64
from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

PHRASES = [
    "Привет GPT! Меня зовут Виктор, как дела?",
    "北京今天天气怎么样？",
    "مرحبا، كيف حالك؟",
    "שלום עולם",
    "नमस्ते दुनिया",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇦",
    "ﷺ e\u0301 \u202e\u2066 \x00 \r\n\t \ufeff",
    '{"$where": "1", "a.b": 2}',
    "",
]
texts = st.one_of(st.sampled_from(PHRASES), st.text(max_size=30))
names = st.one_of(st.none(), texts, st.just("я" * 129))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(texts, values, max_size=3)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


datas = st.binary(min_size=1, max_size=60).map(_encoded)
urls = st.one_of(
    st.builds("https://example.org/{}".format, texts),
    st.builds("data:image/png;base64,{}".format, datas),
    st.just("gs://bucket/image.png"),
)
blocks: st.SearchStrategy[str | dict[str, Any]] = st.one_of(
    texts,
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries(
        {"type": st.just("text"), "text": texts},
        optional={"annotations": st.lists(objects, max_size=2), "id": texts},
    ),
    st.fixed_dictionaries(
        {"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": urls})}
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": st.fixed_dictionaries({"url": urls, "detail": st.just("high")}),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["image", "file", "audio", "video"]),
            "base64": datas,
            "mime_type": st.sampled_from(["image/png", "application/pdf", "audio/wav", "?"]),
        },
        optional={"extras": objects},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("file"),
            "file": st.fixed_dictionaries(
                {
                    "filename": texts,
                    "file_data": st.builds("data:application/pdf;base64,{}".format, datas),
                }
            ),
        }
    ),
    st.fixed_dictionaries({"type": st.just("reasoning"), "reasoning": texts}),
    st.fixed_dictionaries({"type": st.just("non_standard"), "value": objects}),
    objects,
)
contents = st.one_of(texts, st.lists(blocks, max_size=4))
ids = st.one_of(st.none(), texts, st.uuids().map(str), st.just("run-" + "x" * 200))
counts = st.integers(0, 2**40)
usages = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts, "total_tokens": counts},
    optional={
        "input_token_details": st.fixed_dictionaries(
            {}, optional={"audio": counts, "cache_creation": counts, "cache_read": counts}
        ),
        "output_token_details": st.fixed_dictionaries({}, optional={"reasoning": counts}),
    },
)
calls = st.fixed_dictionaries({"name": texts, "args": objects, "id": ids})
broken_calls = st.fixed_dictionaries(
    {"name": names, "args": st.none() | texts, "id": ids, "error": st.none() | texts}
)
call_pieces = st.fixed_dictionaries(
    {"name": names, "args": st.none() | texts, "id": ids, "index": st.none() | st.integers(0, 9)}
)
_any = {
    "content": contents,
    "name": names,
    "id": ids,
    "additional_kwargs": objects,
    "response_metadata": objects,
}
_ai: dict[str, st.SearchStrategy[Any]] = {
    **_any,
    "tool_calls": st.lists(calls, max_size=2),
    "invalid_tool_calls": st.lists(broken_calls, max_size=2),
    "usage_metadata": st.none() | usages,
}
messages: st.SearchStrategy[BaseMessage] = st.one_of(
    st.builds(HumanMessage, **_any),
    st.builds(SystemMessage, **_any),
    st.builds(AIMessage, **_ai),
    st.builds(
        ToolMessage,
        **_any,
        tool_call_id=st.one_of(texts, st.just("call-" + "x" * 200)),
        artifact=values,
        status=st.sampled_from(["success", "error"]),
    ),
    st.builds(
        AIMessageChunk,
        **_any,
        usage_metadata=st.none() | usages,
        tool_call_chunks=st.lists(call_pieces, max_size=2),
        chunk_position=st.sampled_from([None, "last"]),
    ),
)
