"""What each RPC needs of its caller: THE table; and how a caller is held to its own bounds."""

from collections.abc import Mapping
from typing import Any

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.caller import Caller, CallerRole
from turnkeep_server.errors import NotPermitted

NEEDS: Mapping[str, CallerRole] = {
    "Chat": CallerRole.CALLER,
    "StreamChat": CallerRole.CALLER,
    "PreviewContext": CallerRole.CALLER,  # it shows the operator's prompts
    "AddMessages": CallerRole.CALLER,  # SYSTEM messages: may_add_system, too
    "ClearSession": CallerRole.CALLER,
    "ListMessages": CallerRole.READER,
    "ListSessions": CallerRole.READER,
}
"""An RPC that is not here is for nobody, and a server that has one does not start."""


def check_table() -> None:
    """Raises RuntimeError for an RPC of the contract that the table forgets."""
    methods = {each.name for each in pb.DESCRIPTOR.services_by_name["ConversationService"].methods}
    if methods != NEEDS.keys():
        raise RuntimeError(f"permissions.NEEDS and the proto differ: {methods ^ NEEDS.keys()}")


def check_method(caller: Caller, method: str) -> None:
    """Raises NotPermitted if the caller's role is not enough for the RPC."""
    needed = NEEDS.get(method)
    if needed is None or not caller.role.includes(needed):
        raise NotPermitted(
            f"a credential of the role {caller.role.value} may not call {method}",
            role=caller.role.value,
        )


def check_request(caller: Caller, request: Any) -> None:
    """Holds the caller to its own user, and to the messages that it may add.

    Who is held to one user need not name it: an empty user_id is filled in. Any other is refused
    before anything is looked up, so that what exists is not told from what does not.
    Raises NotPermitted.
    """
    if caller.user_id is not None:
        if request.user_id not in {"", caller.user_id}:
            raise NotPermitted(
                "the credential is for one user; leave user_id out, or give that one"
            )
        request.user_id = caller.user_id
    if (
        not caller.may_add_system
        and isinstance(request, pb.AddMessagesRequest)
        and any(each.role == pb.ROLE_SYSTEM for each in request.messages)
    ):
        raise NotPermitted("the credential may not add messages of the role SYSTEM")
