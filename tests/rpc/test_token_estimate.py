"""The estimate in an answer's ContextReport against what a tokenizer-true provider reports."""

import json
import statistics
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.rpc.session import SYSTEM, Session
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXTS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "tokens" / "texts.json").read_text()
)
SCRIPTS = sorted({each["script"] for each in TEXTS})
FAMILIES = {"o200k": "gpt-4o", "cl100k": "gpt-4"}
SYSTEM_TOKENS = 6  # of the shipped prompt, by both vocabularies
# https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken: 3 a message and 1 for its
# role, and 3 for the reply's beginning.
OVERHEAD_TOKENS, PRIMING_TOKENS = 4, 3


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """A server with a model of its own for each script and vocabulary: each learns apart."""
    models = [f"{family}-{script}" for family in FAMILIES.values() for script in SCRIPTS]
    settings = {
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_ALLOWED_MODELS": ",".join(models),
        "TURNKEEP_MAX_MESSAGES": "0",
    }
    async with ServerProcess({**environment, **settings}) as process:
        yield process


@pytest.mark.parametrize("vocabulary", FAMILIES)
@pytest.mark.parametrize("script", SCRIPTS)
async def test_the_estimate_is_never_far_under_and_soon_close(
    server: ServerProcess, model: OpenAIStub, script: str, vocabulary: str
) -> None:
    texts = [each for each in TEXTS if each["script"] == script]
    known = {each["text"]: each[vocabulary] for each in texts}
    known[SYSTEM[1]] = SYSTEM_TOKENS + PRIMING_TOKENS
    count, model.count_tokens = model.count_tokens, lambda text: known[text] + OVERHEAD_TOKENS
    model.reply = lambda messages: SYSTEM[1]
    session = Session(server.stub()[1])
    options = pb.ModelOptions(model=f"{FAMILIES[vocabulary]}-{script}")
    try:
        answers = [await session.chat(each["text"], options=options) for each in texts]
    finally:
        model.count_tokens = count
    ratios = [each.context.estimated_input_tokens / each.usage.input_tokens for each in answers]
    assert ratios[0] >= 0.9
    assert statistics.mean(abs(ratio - 1) for ratio in ratios[5:]) <= 0.1
