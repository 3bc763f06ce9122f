"""The snippets of docs/langchain.md run, in order, and print what the text below them says."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.kit.openai_wire import text_of
from tests.kit.server_process import ServerProcess
from tests.langchain.notebook import Notebook
from tests.langchain.warnings_of_langchain import deprecated_runnable

pytestmark = [pytest.mark.asyncio(loop_scope="session"), deprecated_runnable]

GUIDE = Path(__file__).parents[2] / "docs" / "langchain.md"
ANSWERS = {
    "Привет GPT! Меня зовут Виктор, как дела?": "Привет, Виктор! У меня всё хорошо, спасибо.",
    "Как меня зовут?": "Тебя зовут Виктор.",
    "Чему равен синус 30?": "Синус 30 градусов равен 0.5.",
    "А косинус?": "Косинус 30 градусов равен 0.866.",
}


async def test_the_guides_snippets_print_what_it_says(
    server: ServerProcess, model: OpenAIStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
    model.reply = lambda messages: ANSWERS[text_of(messages[-1])]
    notebook = Notebook()
    printed = ""
    for kind, block in re.findall(
        r"^```(\w+)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    ):
        if kind == "python":
            snippet = block.replace("127.0.0.1:50051", server.address)
            printed += await asyncio.to_thread(notebook.run, snippet)
        elif kind == "text":
            assert printed.strip() == block.strip()
            printed = ""
    assert len(model.calls) == len(ANSWERS)
    assert model.inputs[2][0] == (
        "system",
        "You are a helpful assistant who knows математика well.",
    )
    await asyncio.to_thread(notebook.run, "client.close()")
