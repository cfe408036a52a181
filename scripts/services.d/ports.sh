# Each data folder has a slot of 16 ports: where to look first comes from the folder's name, and what
# was found free is remembered in the folder. A claim in the machine's temporary folder keeps two
# folders that start at the same moment apart.

port_names='amqp dist epmd management memcached keystone keystone_short
  swift_proxy swift_tempauth swift_account swift_container swift_object
  mariadb postgresql cinder'
first_port=10240 slot_ports=16
claims=${TMPDIR:-/tmp}/cinder-backup-agent-ports-$(id -u)

name_ports() {
  local name port=$1
  for name in $port_names; do
    printf -v "port_$name" %s "$port"
    port=$((port + 1))
  done
}

read_ports() {
  local base
  { read -r base <"$home/ports"; } 2>/dev/null && name_ports "$base"
}

slot_is_free() {
  local port
  for ((port = $1; port < $1 + slot_ports; port++)); do port_open "$port" && return 1; done
  return 0
}

# Atomic: the claim's name is the slot, what it holds is the folder. One whose folder has gone, or
# has another slot now, counts for nothing.
claim_slot() {
  local base=$1 owner
  mkdir -p -m 700 "$claims"
  if (set -o noclobber; echo "$home" >"$claims/$base") 2>/dev/null; then return; fi
  owner=$(cat "$claims/$base" 2>/dev/null) || return 1
  [ "$owner" = "$home" ] && return
  [ "$(cat "$owner/ports" 2>/dev/null)" = "$base" ] && return 1
  # A folder without a slot yet is choosing right now, unless it is gone.
  [ -e "$owner" ] && [ ! -s "$owner/ports" ] && return 1
  rm -f "$claims/$base"
  (set -o noclobber; echo "$home" >"$claims/$base") 2>/dev/null
}

release_ports() {
  read_ports || return 0
  [ "$(cat "$claims/$port_amqp" 2>/dev/null)" != "$home" ] || rm -f "$claims/$port_amqp"
}

choose_ports() {
  local ephemeral slots slot turn base
  if read_ports; then
    any_running && return
    slot_is_free "$port_amqp" && claim_slot "$port_amqp" && return
    release_ports
  fi
  read -r ephemeral _ </proc/sys/net/ipv4/ip_local_port_range
  [ "$ephemeral" -ge 16384 ] || ephemeral=32768
  slots=$(((ephemeral - first_port) / slot_ports))
  slot=$((16#$(printf %s "$home" | sha256sum | cut -c 1-8) % slots))
  for ((turn = 0; turn < slots; turn++)); do
    base=$((first_port + (slot + turn) % slots * slot_ports))
    claim_slot "$base" || continue
    if slot_is_free "$base"; then
      echo "$base" >"$home/ports"
      name_ports "$base"
      return
    fi
    rm -f "$claims/$base"
  done
  die "no $slot_ports free ports in a row between $first_port and $ephemeral"
}
