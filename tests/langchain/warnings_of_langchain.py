"""The one warning of LangChain's own that tests of its deprecated runnable meet."""

import pytest

# https://docs.langchain.com/oss/python/langchain/short-term-memory: gone with langchain-core 2.0.
deprecated_runnable = pytest.mark.filterwarnings(
    "ignore:RunnableWithMessageHistory is deprecated"
    ":langchain_core._api.deprecation.LangChainDeprecationWarning"
)
