# Keystone under uwsgi, its database a SQLite file. `keystone` issues tokens of an hour,
# `keystone-short`, a second door to the same database and keys, tokens that end while a test looks
# on; either knows the tokens of both.

admin_password=admin-secret service_password=service-secret user_password=user-secret

start_memcached() {
  spawn memcached memcached -u "$(id -un)" -l 127.0.0.1 -p "$port_memcached" -m 64 -U 0
  wait_for 20 memcached port_open "$port_memcached"
}

# keystone_conf NAME TOKEN_SECONDS
keystone_conf() {
  cat >"$etc/$1.conf" <<END
[DEFAULT]
log_file = $log/$1-app.log
[database]
connection = sqlite:///$home/keystone/keystone.db?timeout=60
sqlite_synchronous = false
[identity]
password_hash_rounds = 4
[token]
provider = fernet
expiration = $2
[fernet_tokens]
key_repository = $home/keystone/keys
[fernet_receipts]
key_repository = $home/keystone/keys
[cache]
enabled = true
backend = oslo_cache.memcache_pool
memcache_servers = 127.0.0.1:$port_memcached
[oslo_messaging_notifications]
driver = noop
END
}

# Keys and tables, once for each data folder.
prepare_keystone() (
  mkdir -p "$home/keystone/keys"
  chmod 700 "$home/keystone/keys"
  exec 7>>"$home/keystone/lock"
  flock 7
  keystone_conf keystone 3600
  keystone_conf keystone-short "${CBA_TOKEN_SECONDS:-10}"
  [ ! -e "$home/keystone/prepared" ] || return 0
  local key manage="keystone-manage --config-file $etc/keystone.conf"
  for key in 0 1; do
    head -c 32 /dev/urandom | base64 | tr +/ -_ >"$home/keystone/keys/$key"
  done
  rm -f "$home/keystone/keystone.db"
  # In write-ahead mode, which the file remembers, a writer never keeps readers waiting.
  { $manage db_sync && $manage bootstrap --bootstrap-password "$admin_password" &&
    /usr/bin/python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("PRAGMA journal_mode = WAL")' "$home/keystone/keystone.db"; } \
    >>"$log/keystone-manage.log" 2>&1 7>&- ||
    { say "keystone-manage failed; see $log/keystone-manage.log"; return 1; }
  touch "$home/keystone/prepared"
)

# spawn_keystone NAME PORT PROCESSES
spawn_keystone() {
  spawn "$1" uwsgi_python3 --master --lazy-apps --die-on-term --need-app \
    --processes "$3" --threads 2 --buffer-size 65535 --http-socket "127.0.0.1:$2" \
    --add-header 'Connection: close' --disable-logging \
    --pyargv "--config-file $etc/$1.conf" --wsgi-file /usr/bin/keystone-wsgi-public
  wait_for 90 "$1" http_ok "$2" /v3
}

start_keystone() {
  prepare_keystone || return
  spawn_keystone keystone "$port_keystone" 2 && keystone_accounts
}

# Who may log in, and where Swift and Cinder are: again when the ports or the script have changed.
keystone_accounts() (
  script=$here/services.d/keystone_accounts.py
  made="$port_amqp $(sha256sum <"$script")"
  exec 7>>"$home/keystone/lock"
  flock 7
  [ "$(cat "$home/keystone/accounts" 2>/dev/null)" != "$made" ] || return 0
  { keystone_vars; swift_vars; cinder_vars; } | /usr/bin/python3 "$script" || return
  echo "$made" >"$home/keystone/accounts"
)

start_keystone_short() {
  prepare_keystone && spawn_keystone keystone-short "$port_keystone_short" 1
}

keystone_vars() {
  cat <<END
KEYSTONE_URL=http://127.0.0.1:$port_keystone/v3
KEYSTONE_SHORT_URL=http://127.0.0.1:$port_keystone_short/v3
KEYSTONE_ADMIN_PASSWORD=$admin_password
KEYSTONE_SERVICE_PASSWORD=$service_password
KEYSTONE_USER_PASSWORD=$user_password
END
}
