"""What the fault tests share: a model and servers, one set a module, on the module's event loop."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.kit.openai_stub import OpenAIStub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model_provider() -> AsyncIterator[OpenAIStub]:
    """The module's model provider, which its servers are told of when they start."""
    async with OpenAIStub() as stub:
        yield stub


@pytest.fixture
def model(model_provider: OpenAIStub) -> OpenAIStub:
    """The model provider as if it were new: no calls yet, no gate, no delay, no faults."""
    model_provider.calls.clear()
    model_provider.gate = None
    model_provider.delay_seconds = 0.0
    model_provider.delta_delay_seconds = 0.0
    model_provider.heal()
    return model_provider
