#!/usr/bin/env bash
# echo.sh <echo_server> <echo_client> <backend> <loops>: every byte comes back, and SIGTERM ends the server with 128 + 15.
set -euo pipefail
echo_server=$1 echo_client=$2 backend=$3 loops=$4

coproc server { exec "$echo_server" --port 0 --backend "$backend" --loops "$loops"; }
pid=$server_PID
trap 'kill "$pid" 2>/dev/null || true' EXIT

read -r _ _ address _ <&"${server[0]}" # "listening on 127.0.0.1:40123 (epoll)"
port=${address##*:}
"$echo_client" --port "${port%,}" --connections 20 --messages 50 --size 10000 --backend "$backend"

kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ "$status" = 143 ] || {
  echo "echo_server ended with $status" >&2
  exit 1
}
