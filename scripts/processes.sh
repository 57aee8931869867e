# Sourced: starts processes that end with the script, however it ends, and finds free ports.

# Everything here talks to this machine only.
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy
# Nobody sends callers to these gateways who would have to hear of their end.
export TURNPIKE_SERVER__DRAIN__LAME_DUCK=-1

directory=$(mktemp -d "${TMPDIR:-/tmp}/turnpike.XXXXXX")
started=()

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ ${#started[@]} -gt 0 ]; then
    kill "${started[@]}" 2>/dev/null || true
    wait "${started[@]}" 2>/dev/null || true
  fi
  rm -rf "$directory"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The binaries of a profile.
binaries() {
  local profile=$1
  [ "$profile" = dev ] && profile=debug
  printf '%s/%s' "${CARGO_TARGET_DIR:-target}" "$profile"
}

# The first port from $1 on that nobody listens on.
free_port() {
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    port=$((port + 1))
  done
  printf '%s' "$port"
}

# Starts a program in the background, its output in $directory/NAME.log.
launch() {
  local name=$1
  shift
  "$@" >"$directory/$name.log" 2>&1 </dev/null &
  started+=($!)
}

# Waits until a URL answers, and shows the log of the process last started when it does not.
await() {
  local name=$1 url=$2 n
  for n in $(seq 200); do
    curl -s -o /dev/null --noproxy '*' --max-time 2 "$url" && return
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 0.05
  done
  printf '%s did not start:\n' "$name" >&2
  cat "$directory/$name.log" >&2
  return 1
}
