#!/usr/bin/env bash
# A tour of Turnkeep with grpcurl, call by call:
#
#     examples/shell/grpcurl.sh [ADDRESS [SESSION]]
#
# grpcurl asks the server for the methods (TURNKEEP_REFLECTION=1, as `make run` has it). PROTOS=1 makes
# it read the protos instead.
set -euo pipefail
cd "$(dirname "$0")/../.."

address=${1:-127.0.0.1:50051}
session=${2:-grpcurl-tour}

schema=()
if [[ -n ${PROTOS-} ]]; then
  schema=(-import-path protos -proto turnkeep/v1/conversation.proto
    -import-path examples/shell -proto google/rpc/error_details.proto)
fi

# -max-time is the deadline in seconds: without one a call may wait for ever. In production, without
# -plaintext: grpcurl then speaks TLS.
call() {
  grpcurl -plaintext -max-time 60 ${schema[@]+"${schema[@]}"} -d @ \
    "$address" "turnkeep.v1.ConversationService/$1"
}

new_id() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

echo "--- ClearSession: forget what was said before"
call ClearSession <<JSON
{"session_id": "$session"}
JSON

echo "--- Chat: one turn, answered whole"
request_id=$(new_id)
question='{"session_id": "'$session'", "request_id": "'$request_id'",
  "text": "Привет! Меня зовут Виктор 👋"}'
call Chat <<<"$question"

echo "--- Chat again, with the same request_id: the stored answer, and the model is not asked"
call Chat <<<"$question"

echo "--- StreamChat: one turn, text as it comes; it is stored before \"completed\""
call StreamChat <<JSON
{"session_id": "$session", "request_id": "$(new_id)", "text": "你还记得我叫什么吗?"}
JSON

echo "--- An error: the reason is for programs, the list is in docs/errors.md"
call Chat <<JSON || true
{"session_id": "$session", "request_id": "$(new_id)", "text": "Привет", "prompt": "no-such-prompt"}
JSON

echo "--- A cancel, after the second piece of text: what ctrl-C does"
{ call StreamChat | grep -m 2 '"text"'; } <<JSON || true
{"session_id": "$session", "request_id": "$(new_id)", "text": "Расскажи длинную историю 🐘"}
JSON

echo "--- AddMessages: a turn from elsewhere; it waits until the cancelled one has ended"
call AddMessages <<JSON
{"session_id": "$session", "request_id": "$(new_id)", "messages": [
  {"role": "ROLE_USER", "text": "كم الساعة الآن؟"},
  {"role": "ROLE_ASSISTANT", "text": "الثالثة ظهراً 🕒"}]}
JSON

echo "--- ListMessages: all of it, the cancelled turn too"
call ListMessages <<JSON
{"session_id": "$session", "include_unfinished": true}
JSON
