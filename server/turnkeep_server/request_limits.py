"""What a request may hold: the limits of the wire contract."""

from pydantic import Field, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from turnkeep_server.setting_types import PREFIX


class Limits(BaseSettings):
    """A part of `Settings`: every limit that an operator can move."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    max_id_chars: PositiveInt = Field(128, description="longest session_id and user_id")
    max_request_id_chars: PositiveInt = Field(64, description="longest request_id")
    max_text_chars: PositiveInt = Field(65_536, description="longest text, in code points")
    max_text_bytes: PositiveInt = Field(262_144, description="longest text, in UTF-8 bytes")
    max_reply_bytes: PositiveInt = Field(
        2_097_152, description="longest reply; the rest is cut off, and the reply ends MAX_TOKENS"
    )
    max_parts: PositiveInt = Field(64, description="most parts of a message")
    max_part_bytes: PositiveInt = Field(
        1_048_576, description="largest image URL or file, in bytes"
    )
    max_tool_calls: PositiveInt = Field(128, description="most tool calls of a message")
    max_tool_arguments_bytes: PositiveInt = Field(65_536, description="longest tool arguments")
    max_map_entries: PositiveInt = Field(32, description="most variables, most metadata entries")
    max_map_entry_bytes: PositiveInt = Field(4_096, description="largest such entry, key and value")
    max_added_messages: PositiveInt = Field(500, description="most messages of one AddMessages")
    max_added_bytes: PositiveInt = Field(
        2_097_152, description="largest AddMessages, and largest message of a Chat, in bytes"
    )
    max_requested_context_messages: PositiveInt = Field(
        1_000, description="largest context.max_messages that a request may ask for"
    )
    default_page_size: PositiveInt = Field(50, description="page size if a request gives none")
    max_page_size: PositiveInt = Field(1_000, description="largest page; more is cut to it")
    max_page_bytes: PositiveInt = Field(
        3_145_728,
        description="largest page in bytes; gRPC clients take 4 MiB unless told otherwise",
    )
