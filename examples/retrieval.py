"""A chain of one's own: answers from a few documents, which it looks up for each question.

    TURNKEEP_CHAIN=retrieval:build PYTHONPATH=examples OPENAI_API_KEY=… turnkeep-server

Turnkeep gives it {chat_history, question} and the request's variables; what it answers, streamed or
whole, becomes the turn's reply. Its model's key and address come from OPENAI_API_KEY and
OPENAI_BASE_URL, as the server's own do.
"""

import re
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_openai import ChatOpenAI

DOCUMENTS = [
    Document("Возврат товара: в течение 14 дней, с чеком."),
    Document("Доставка по Казани: 2 дня, 300 рублей."),
    Document("营业时间:周一至周五,九点到十八点。"),
    Document("Gift cards are valid for one year."),
]


class WordRetriever(BaseRetriever):
    """The documents that share the most words with the question. A vector store does it better."""

    documents: list[Document]
    most: int = 2

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        wanted = _words(query)
        ranked = sorted(
            self.documents, key=lambda each: len(wanted & _words(each.page_content)), reverse=True
        )
        return [each for each in ranked[: self.most] if wanted & _words(each.page_content)]


def build() -> Runnable[dict[str, Any], BaseMessage]:
    """What TURNKEEP_CHAIN names: called once, without arguments, when the server starts."""
    prompt = ChatPromptTemplate(
        [
            ("system", "Answer from these documents, in the language of the question:\n{context}"),
            MessagesPlaceholder("chat_history"),
            ("human", "{question}"),
        ]
    )
    # Turnkeep ends the call at its deadline, and sends the request again where that is safe.
    model = ChatOpenAI(model="gpt-4o-mini", max_retries=0, stream_usage=True)
    found = RunnableLambda(_text_of) | WordRetriever(documents=DOCUMENTS) | _joined
    return RunnablePassthrough.assign(context=found) | prompt | model


def _text_of(given: dict[str, Any]) -> str:
    """A question with images or a tool's result comes as a LangChain message."""
    question = given["question"]
    return question if isinstance(question, str) else question.text


def _joined(documents: list[Document]) -> str:
    return "\n".join(each.page_content for each in documents) or "(none)"


def _words(text: str) -> set[str]:
    """The words of a text, long ones without their endings; in Chinese the characters."""
    return {
        each[:5] for each in re.findall(r"[^\W\u4e00-\u9fff]{3,}|[\u4e00-\u9fff]", text.lower())
    }
