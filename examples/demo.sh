#!/usr/bin/env bash
# Shows: http_file_server serving this repository to the real curl, on each backend; every byte is compared.
# Run:   ./dev demo        or: examples/demo.sh DIRECTORY_OF_THE_BUILT_EXAMPLES REPOSITORY
set -euo pipefail

repository=$(realpath "${2:-$(dirname "${BASH_SOURCE[0]}")/..}")
examples=$(realpath "${1:-$repository/build/release/examples}")
server=$examples/http_file_server
if [ ! -x "$server" ]; then
  echo "demo: $server is missing; ./dev build release makes it (it needs the package node-llhttp)" >&2
  exit 2
fi

work=$(mktemp -d)
server_pid=
clean_up() {
  if [ -n "$server_pid" ]; then kill "$server_pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap clean_up EXIT

# ---- what is served: copies of the repository's files, a big file, and a way out that must not work -------------------

root=$work/root
got=$work/got
mkdir -p "$root"
cd "$repository"
# What git knows; without git everything but hidden and built files.
{ git ls-files -z --cached --others --exclude-standard 2>/dev/null ||
  find . -name '.?*' -prune -o -path ./build -prune -o -type f -print0; } |
  { tar --null --files-from=- -cf - 2>/dev/null || true; } | tar -xf - -C "$root"
cd "$work"
head -c $((64 << 20)) /dev/urandom >"$root/big.bin"
ln -s /etc/passwd "$root/way_out"
files=$(cd "$root" && find . -type f ! -name big.bin -printf '%P\n' | sort)
file_count=$(wc -l <<<"$files")
byte_count=$(find "$root" -type f ! -name big.bin -printf '%s\n' | awk '{ sum += $1 } END { print sum }')

# ---- checks ---------------------------------------------------------------------------------------------------------

failures=0
say() { printf '  %-6s %s\n' "$@"; }
verdict() { # verdict <what it was> <expected> <found>
  if [ "$2" = "$3" ]; then
    say ok "$1"
  else
    say FAILED "$1: expected '$2', got '$3'"
    failures=$((failures + 1))
  fi
}
fetch() { curl --silent --show-error --max-time 30 --path-as-is "$@"; }
status_of() { fetch --output /dev/null --write-out '%{http_code}' "$@" || true; }
difference() { if cmp -s "$1" "$2"; then echo none; else echo "the bytes differ"; fi; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

start_server() { # start_server <backend>: sets server_pid and url; false where the backend cannot be had
  local log=$work/$1.log
  : >"$log" # we may look before the background shell has made it
  ROTA_BACKEND='' "$server" --port 0 --root "$root" --backend "$1" >"$log" 2>&1 &
  server_pid=$!
  local line=
  for _ in $(seq 100); do
    line=$(head -n 1 "$log")
    case $line in 'listening on '*) break ;; esac
    if ! kill -0 "$server_pid" 2>/dev/null; then
      server_pid=
      say - "$(cat "$log")"
      grep -qE 'not permitted|not implemented|without liburing|Invalid argument' "$log" && return 1
      exit 1
    fi
    sleep 0.1
  done
  url=$(sed -n 's/^listening on \([^ ]*\) .*/\1/p' <<<"$line")
  if [ -z "$url" ]; then
    say FAILED "the server did not say where it listens: $(cat "$log")"
    exit 1
  fi
  say ok "$line"
}

check_backend() {
  local begin duration code wrong
  rm -rf "$got" && mkdir -p "$got"

  begin=$(milliseconds)
  fetch --output "$got/big.bin" "$url/big.bin" || true
  duration=$(($(milliseconds) - begin + 1))
  verdict "one large file: 64 MiB in $duration ms, $((64 * 1000 / duration)) MiB/s" none "$(difference "$root/big.bin" "$got/big.bin")"

  # The list of what to fetch goes to curl as a file: up to 30 transfers at a time, over connections that are reused.
  while read -r name; do printf 'url = "%s"\noutput = "%s"\n' "$url/$name" "$got/tree/$name"; done <<<"$files" >"$work/list"
  begin=$(milliseconds)
  fetch --parallel --parallel-max 30 --create-dirs --config "$work/list" 2>/dev/null || true
  duration=$(($(milliseconds) - begin + 1))
  wrong=$(while read -r name; do cmp -s "$root/$name" "$got/tree/$name" || echo "$name"; done <<<"$files")
  verdict "every file of the repository, 30 at a time: $file_count files, $byte_count bytes in $duration ms" '' "$wrong"

  code=$(fetch --head --output "$got/head" --write-out '%{http_code} %header{content-length}' "$url/README.md" || true)
  verdict "HEAD says how long README.md is and sends none of it" "200 $(stat -c %s "$root/README.md")" "$code"

  code=$(fetch --range 1000000-1999999 --output "$got/part" --write-out '%{http_code}' "$url/big.bin" || true)
  tail -c +1000001 "$root/big.bin" | head -c 1000000 >"$work/part" || true
  verdict "a range: one million bytes from the middle" "206 none" "$code $(difference "$work/part" "$got/part")"

  code=$(fetch --output "$got/1" --output "$got/2" --write-out '%{http_code}/%{num_connects} ' "$url/README.md" "$url/LICENSE" || true)
  verdict "two requests use one connection" "200/1 200/0 " "$code"

  verdict "a missing file" 404 "$(status_of "$url/no/such/file")"
  verdict "a way out of the root: /../../etc/passwd" 404 "$(status_of "$url/../../../../../../../../etc/passwd")"
  verdict "the same, percent-encoded" 404 "$(status_of "$url/%2e%2e/%2e%2e%2f%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd")"
  verdict "a symbolic link to /etc/passwd" 404 "$(status_of "$url/way_out")"

  # A client that has a connection open and asks for nothing must not hold up the end.
  exec {idle}<>"/dev/tcp/127.0.0.1/${url##*:}"
  start=$(milliseconds)
  kill -TERM "$server_pid"
  code=0
  wait "$server_pid" || code=$?
  server_pid=
  duration=$(($(milliseconds) - start))
  exec {idle}>&-
  verdict "SIGTERM ends the server at once, although a client is idle; exit code" 0 "$code"
  verdict "it did not wait for that client: $duration ms" '' "$([ "$duration" -lt 1500 ] || echo "as long as its time of grace")"
}

curl --version | head -n 1 | cut -d ' ' -f 1-2
backends=0
for backend in io_uring epoll; do
  echo "$backend"
  if start_server "$backend"; then
    check_backend
    backends=$((backends + 1))
  elif [ "$backend" = io_uring ]; then
    say - "io_uring is forbidden or missing here; rota uses epoll then"
  else
    failures=$((failures + 1))
  fi
done

if [ "$failures" != 0 ]; then
  echo "demo: $failures checks failed" >&2
  exit 1
fi
echo "demo: all checks passed on $backends of 2 backends"
