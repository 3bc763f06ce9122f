"""A LangChain tutorial's notebook, cell by cell, with only `get_session_history` changed."""

import asyncio
import sys

import pytest

import turnkeep
from tests.kit.openai_stub import OpenAIStub
from tests.kit.openai_wire import text_of
from tests.kit.server_process import ServerProcess
from tests.langchain.notebook import Notebook
from tests.langchain.warnings_of_langchain import deprecated_runnable

pytestmark = [pytest.mark.asyncio(loop_scope="session"), deprecated_runnable]

# The document's cells, word for word but for the address of the model; and its answers.
LLM = """
import os
from getpass import getpass
from langchain_openai import ChatOpenAI

course_api_key = getpass(prompt='Введите API-ключ полученный в боте')

# инициализируем языковую модель
llm = ChatOpenAI(api_key=course_api_key, model='gpt-4o-mini',
                 base_url=BASE_URL)
"""
CONFIG = """
#Создаем конфиг в который будем передавать session_id
config = {"configurable" : {"session_id": "1"}}

llm_with_history = RunnableWithMessageHistory(llm,get_session_history)

#Теперь при вызове надо добавлять экземпляр config с нужной session_id
answer = llm_with_history.invoke("Привет GPT! Меня зовут Виктор, как дела?",config=config).content
"""
PRINT = """
print(answer)

print(store['1'])
"""
SECOND = """
answer = llm_with_history.invoke("Как меня зовут?",config=config).content
"""
CLEAR = """
# Очистить историю диалога сессии можно методом clear()
get_session_history('1').clear()
store
"""
ADD = """
#Добавим сообщения в сессию
get_session_history('1').clear()
get_session_history('1').add_user_message('Hello, World')
get_session_history('1').add_ai_message('Hi')

print(store['1'])
"""
PROMPT = """
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

#Создаем шаблон для ассистента
prompt = ChatPromptTemplate.from_messages([
    ('system', "Ты полезный ассистент, отлично разбирающийся в {topic}")
    ,MessagesPlaceholder(variable_name='chat_history')  #Заглушка для истории диалога
    ,('human', '{question}')
    ])
"""
CHAIN = """
#Собираем цепочку
chain = prompt | llm

#Добавляем сохранение истории взаимодействий
chain_with_history = RunnableWithMessageHistory(chain
                                                ,get_session_history
                                                ,input_messages_key="question"
                                                ,history_messages_key='chat_history')

#Выполняем запрос
answer = chain_with_history.invoke({"topic": "математика", "question": "Чему равен синус 30?"}
                          ,config= {"configurable" : {"session_id": "2"}}).content
"""
COSINE = """
#А теперь задаем второй вопрос, по контексту уже модель понимает что мы ходим
answer = chain_with_history.invoke(
    {"topic": "математика", "question": "А чему равен косинус?"},
    config={"configurable": {"session_id": "2"}}).content
"""
ANSWERS = {
    "Привет GPT! Меня зовут Виктор, как дела?": "Привет, Виктор! У меня всё хорошо, спасибо. "
    "Как дела у тебя? Чем могу помочь?",
    "Как меня зовут?": "Тебя зовут Виктор. Как я могу помочь тебе сегодня?",
    "Чему равен синус 30?": "Синус 30 градусов равен \\( \\frac{1}{2} \\) или 0.5.",
    "А чему равен косинус?": "Косинус 30 градусов равен \\( \\frac{\\sqrt{3}}{2} \\) "
    "или примерно 0.866.",
}

# The one cell that changes.
HISTORY = """
from langchain_core.runnables.history import RunnableWithMessageHistory
from turnkeep.langchain import TurnkeepChatMessageHistory
from turnkeep.sync import ConversationClient

client = ConversationClient(ADDRESS)

#Создаем словарь который будет маппить session_id с историей
store = {}

#Функция возвращающая историю диалога по session_id
def get_session_history(session_id: str) -> TurnkeepChatMessageHistory:
    if session_id not in store:
        store[session_id] = TurnkeepChatMessageHistory(session_id, user_id=USER_ID, client=client)
    return store[session_id]
"""
ANOTHER_PROGRAM = """
import sys
from turnkeep.langchain import TurnkeepChatMessageHistory
from turnkeep.sync import ConversationClient

address, user_id, session_id = sys.argv[1:]
with ConversationClient(address) as client:
    print(TurnkeepChatMessageHistory(session_id, user_id=user_id, client=client))
"""


async def test_every_cell_runs_and_says_what_it_said(
    server: ServerProcess,
    async_client: turnkeep.ConversationClient,
    model: OpenAIStub,
    monkeypatch: pytest.MonkeyPatch,
    user_id: str,
) -> None:
    """The second question's input holds the first turn; a clear leaves nothing, a process all."""
    monkeypatch.setattr("getpass.getpass", lambda prompt: "test")
    model.reply = lambda messages: ANSWERS[text_of(messages[-1])]
    notebook = Notebook()
    notebook.names |= {
        "BASE_URL": model.base_url,
        "ADDRESS": server.address,
        "USER_ID": user_id,
    }

    async def run(*cells: str) -> str:
        return "".join([await asyncio.to_thread(notebook.run, each) for each in cells])

    def said(*questions: str) -> list[tuple[str, str]]:
        return [each for q in questions for each in (("user", q), ("assistant", ANSWERS[q]))]

    hello, name, sine, cosine = ANSWERS
    assert await run(LLM, HISTORY, CONFIG) == ""
    printed = f"{ANSWERS[hello]}\nHuman: {hello}\nAI: {ANSWERS[hello]}\n"
    assert await run(PRINT) == printed

    await run(SECOND)
    assert model.inputs[1] == [*said(hello), ("user", name)]
    assert await run("print(answer)") == ANSWERS[name] + "\n"

    shown = await run(CLEAR)
    assert shown == f"{{'1': TurnkeepChatMessageHistory('1', user_id='{user_id}')}}\n"
    session = async_client.session("1", user_id)
    assert [each async for each in session.messages(include_unfinished=True)] == []

    assert await run(ADD) == "Human: Hello, World\nAI: Hi\n"
    await run(PROMPT, CHAIN)
    assert await run("print(answer)") == ANSWERS[sine] + "\n"
    await run(COSINE)
    system = ("system", "Ты полезный ассистент, отлично разбирающийся в математика")
    assert model.inputs[3] == [system, *said(sine), ("user", cosine)]
    assert await run("print(answer)") == ANSWERS[cosine] + "\n"

    told = await _another_program(server.address, user_id, "2")
    assert told == "".join(
        f"{'Human' if role == 'user' else 'AI'}: {text}\n" for role, text in said(sine, cosine)
    )
    await run("client.close()")


async def _another_program(*arguments: str) -> str:
    """What a process of its own prints of a session."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        ANOTHER_PROGRAM,
        *arguments,
        env={"PYTHONIOENCODING": "utf-8"},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await running.communicate()
    assert running.returncode == 0
    return output.decode()
