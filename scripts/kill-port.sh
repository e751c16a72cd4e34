#!/bin/sh
# Ends whatever listens on a TCP port: kill-port.sh [PORT], 3001 if none is given.
# It is asked to end; asked again after 3 s, which Trunkline takes for "at once"; killed after 3 s more.
set -eu

port=${1-3001}
case $port in
  '' | 0* | *[!0-9]*)
    echo "usage: kill-port.sh [PORT], such as: kill-port.sh 3001" >&2
    exit 2
    ;;
esac

# The processes that listen, one number a line: from /proc where there is one, so that nothing need be installed.
holders() {
  if [ -r /proc/net/tcp ]; then
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
      awk -v port=":$(printf '%04X' "$port")" '$4 == "0A" && index($2, port) == length($2) - 4 { print $10 }' |
      while read -r inode; do
        # shellcheck disable=SC2012 # one ls for all processes; names are numbers
        ls -l /proc/[0-9]*/fd 2>/dev/null |
          awk -v link="socket:[$inode]" '/^\/proc\// { split($0, part, "/") } $NF == link { print part[3] }'
      done | sort -un
  elif command -v lsof >/dev/null 2>&1; then
    lsof -nP -t -iTCP:"$port" -sTCP:LISTEN 2>/dev/null || true
  else
    echo "Install lsof, so that the process can be found." >&2
    exit 1
  fi
}

name_of() {
  cat "/proc/$1/comm" 2>/dev/null || ps -o comm= -p "$1" 2>/dev/null
}

pids=$(holders)
if [ -z "$pids" ]; then
  echo "Nothing that this user may see listens on port $port."
  exit 0
fi

for signal in TERM TERM KILL; do
  for pid in $pids; do
    name=$(name_of "$pid") || continue
    echo "$signal to $name (pid $pid)"
    kill -"$signal" "$pid" 2>/dev/null || echo "pid $pid cannot be ended by this user" >&2
  done
  tries=30
  while [ "$tries" -gt 0 ]; do
    pids=$(holders)
    if [ -z "$pids" ]; then
      echo "Port $port is free."
      exit 0
    fi
    sleep 0.1
    tries=$((tries - 1))
  done
done
echo "Port $port is still taken by: $(echo "$pids" | tr '\n' ' ')" >&2
exit 1
