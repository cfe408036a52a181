# Processes are known by pid and start time, so that a number that the kernel gave away again is
# never taken for ours.

start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Prints the pid of NAME where that very process still runs.
running() {
  local pid time
  { read -r pid time <"$run/$1.pid"; } 2>/dev/null || return 1
  [ -n "$time" ] && [ "$(start_time "$pid")" = "$time" ] || return 1
  ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null && echo "$pid"
}

any_running() {
  local name
  for name in $all; do running "$name" >/dev/null && return; done
  return 1
}

# spawn NAME COMMAND...: in the background, in a session of its own, with its output in the log.
spawn() {
  local name=$1 pid
  shift
  setsid "$@" >>"$log/$name.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid $(start_time $pid)" >"$run/$name.pid"
}

stop_process() {
  local name=$1 pid turn
  pid=$(running "$name") || { rm -f "$run/$name.pid"; return 0; }
  # On the usual signal PostgreSQL would wait for its clients to go.
  kill -"$([ "$name" = postgresql ] && echo INT || echo TERM)" "$pid" 2>/dev/null || :
  for turn in $(seq 300); do
    running "$name" >/dev/null || break
    sleep 0.1
  done
  # What is left of its session: workers, or what would not end in 30 s.
  kill -KILL -- "-$pid" 2>/dev/null || :
  rm -f "$run/$name.pid"
  say "$name is stopped"
}

# wait_for SECONDS NAME COMMAND...: until COMMAND succeeds; fails at once where NAME has died. One
# that was not spawned yet is waited for too: processes start side by side.
wait_for() {
  local deadline=$((SECONDS + $1)) name=$2
  shift 2
  until "$@" 2>/dev/null; do
    if { [ -e "$run/$name.pid" ] && ! running "$name" >/dev/null; } || [ $SECONDS -ge $deadline ]; then
      say "$name did not come up; the end of $log/$name.log:"
      tail -n 15 "$log/$name.log" >&2 || :
      return 1
    fi
    sleep 0.1
  done
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# http_ok PORT PATH: whether a GET is answered by 200.
http_ok() {
  local line
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$2" "$1" >&3
  IFS= read -r -t 30 line <&3 || line=
  exec 3>&-
  [[ $line == *' 200 '* ]]
}
