"""The LangChain adapter, against a real server and a real client."""
