#!/usr/bin/env bash
# Makes the certificates of this folder anew: an authority, and a server's for localhost and
# 127.0.0.1, both good for 100 years. They protect nothing. The authority's key is thrown away.
set -euo pipefail
cd "$(dirname "$0")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 \
  -subj "/CN=Turnkeep tests" -keyout ca.key -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" \
  -keyout server.key -out server.csr
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 36500 \
  -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out server.pem
rm -f ca.key ca.srl server.csr
