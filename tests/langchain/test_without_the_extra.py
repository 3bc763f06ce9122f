"""Without langchain-core the import says what to install."""

import sys

import pytest


def test_the_import_says_exactly_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else of the client needs it."""
    for name in [each for each in sys.modules if each.startswith("turnkeep.langchain")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "langchain_core", None)

    with pytest.raises(ImportError) as raised:
        import turnkeep.langchain  # noqa: F401

    assert str(raised.value).endswith(': pip install "turnkeep-client[langchain]"')
