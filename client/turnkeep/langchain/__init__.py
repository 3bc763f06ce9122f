"""Turnkeep for programs that are written with LangChain; the extra `langchain`.

`TurnkeepChatMessageHistory` keeps a program's history in Turnkeep: it is what `get_session_history`
returns. `ChatTurnkeep` sends the question alone and leaves history and model to the service. See
docs/langchain.md.
"""

try:
    import langchain_core as _langchain_core  # noqa: F401 - only whether it is there
except ModuleNotFoundError as _missing:
    raise ImportError(
        'turnkeep.langchain needs langchain-core: pip install "turnkeep-client[langchain]"'
    ) from _missing

from turnkeep.langchain.history import TurnkeepChatMessageHistory
from turnkeep.langchain.runnable import ChatTurnkeep

__all__ = ["ChatTurnkeep", "TurnkeepChatMessageHistory"]
