"""The test kit: what a test needs around Turnkeep, real wherever real is affordable.

openai_stub           OpenAIStub, an HTTP server that speaks OpenAI and fails at will
openai_faults         Fault: the ways in which a model provider fails
openai_script         what the stub says in one answer; openai_answer sends it, openai_wire words it
mongod                Mongod, a real mongod as a child process: kill, pause and start it again
server_process        ServerProcess, the real service as a child process
canary                secrets planted in those servers, and looked for in all that they tell
mongomock_async       AsyncMongomockClient, AsyncMongoClient's face over mongomock, for fast tests
mongomock_collection  its calls; mongomock_cursor, _writes and _unique do the work behind them
mongo_pipelines       the few update pipelines and $expr filters that the façade understands
child                 child processes that never outlive the tests
ports                 TCP ports that stay free while nobody listens on them

Nothing here imports turnkeep_server: the kit tests it from the outside.
"""
