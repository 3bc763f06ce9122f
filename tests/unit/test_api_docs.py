"""docs/api.md against the contract as Python has it. `make docs-check` tells if it is stale."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import MethodDescriptor

from turnkeep.v1.conversation_pb2 import DESCRIPTOR

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
SERVICE = DESCRIPTOR.services_by_name["ConversationService"]


def section(heading: str) -> str:
    """What is under a heading that occurs once, up to the next one."""
    (found,) = re.findall(rf"^{heading}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize("method", list(SERVICE.methods), ids=lambda each: each.name)
def test_an_rpc_names_its_messages(method: MethodDescriptor) -> None:
    for kind in (method.input_type, method.output_type):
        assert f"[{kind.name}](#{kind.name.lower()})" in section(f"## {method.name}")


@pytest.mark.parametrize("name", list(DESCRIPTOR.message_types_by_name))
def test_a_message_has_a_row_for_each_field_in_order(name: str) -> None:
    message = DESCRIPTOR.message_types_by_name[name]
    row = re.compile(r"^\| (?:– )?`(\w+)` \| (.*?) \| .+ \|$", re.MULTILINE)
    rows = row.findall(section(f"### {name}"))
    assert [field for field, kind in rows if kind != "one of"] == [
        each.name for each in message.fields
    ]


@pytest.mark.parametrize("name", list(DESCRIPTOR.enum_types_by_name))
def test_an_enum_has_a_row_for_each_value(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| .+ \|$", section(f"### {name}"), re.MULTILINE)
    values = DESCRIPTOR.enum_types_by_name[name].values
    assert rows == [(each.name, str(each.number)) for each in values]


def test_every_link_within_the_page_leads_somewhere() -> None:
    headings = {each.lower() for each in re.findall(r"^##+ (\w+)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\(#(\w+)\)", PAGE)) <= headings
