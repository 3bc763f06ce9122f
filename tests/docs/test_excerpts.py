"""Code of other languages in docs/clients.md is what stands in the examples, which are run."""

import pytest

from tests.docs.snippets import ROOT, snippets

EXAMPLES = {
    "js": ["examples/node/tour.js", "examples/node/turnkeep.js"],
    "go": ["examples/go/main.go", "examples/go/turnkeep.go"],
    "bash": ["examples/shell/grpcurl.sh", "examples/shell/buf_curl.sh"],
}
EXCERPTS = [
    pytest.param(language, code, id=f"{language}-{line}")
    for language in EXAMPLES
    for line, code in snippets("docs/clients.md", language)
]


def test_each_language_has_excerpts() -> None:
    assert {each.values[0] for each in EXCERPTS} == set(EXAMPLES)


@pytest.mark.parametrize(("language", "code"), EXCERPTS)
def test_an_excerpt_is_what_the_example_says(language: str, code: str) -> None:
    assert any(code in (ROOT / path).read_text() for path in EXAMPLES[language])
