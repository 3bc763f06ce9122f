#!/usr/bin/env bash
# A tour of Turnkeep with `buf curl`, call by call:
#
#     examples/shell/buf_curl.sh [ADDRESS [SESSION]]
#
# buf asks the server for the methods (TURNKEEP_REFLECTION=1, as `make run` has it). PROTOS=1 makes it
# read the protos instead. `make setup` puts a buf into .venv/bin.
set -euo pipefail
cd "$(dirname "$0")/../.."

address=${1:-127.0.0.1:50051}
session=${2:-buf-tour}

schema=()
[[ -z ${PROTOS-} ]] || schema=(--schema protos)

# --timeout is the deadline: without one a call may wait for ever. In production, with https:// and
# without --http2-prior-knowledge.
call() {
  buf curl --protocol grpc --http2-prior-knowledge --timeout 60s ${schema[@]+"${schema[@]}"} -d @- \
    "http://$address/turnkeep.v1.ConversationService/$1"
}

# buf leaves an error's details encoded: this is the ErrorInfo of an error on stdin.
error_info() {
  local encoded
  encoded=$(sed -n 's/.*"value": "\(.*\)".*/\1/p')
  while ((${#encoded} % 4)); do encoded+='='; done
  base64 -d <<<"$encoded" |
    buf convert examples/shell/google/rpc/error_details.proto \
      --type google.rpc.ErrorInfo --from -#format=binpb
  echo
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
failure=$(call Chat 2>&1 <<JSON || true
{"session_id": "$session", "request_id": "$(new_id)", "text": "Привет", "prompt": "no-such-prompt"}
JSON
)
echo "$failure"
error_info <<<"$failure"

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
