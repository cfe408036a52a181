# Cinder's own control plane and its own backup service, from Debian's packages. Volumes are sparse
# files. The stock backup service and our agent read the same file, cinder-backup.conf, so that
# either can take the place of the other: its queue `cinder-backup.<host>`, and its row in the table
# of services.

cinder_host=${CBA_CINDER_HOST:-cinder-host}

# The settings by which the service USER logs in to Keystone, or asks it about tokens.
cinder_login() {
  cat <<END
www_authenticate_uri = http://127.0.0.1:$port_keystone/v3
auth_url = http://127.0.0.1:$port_keystone/v3
auth_type = password
username = cinder
password = $service_password
user_domain_id = default
project_name = service
project_domain_id = default
END
}

# cinder_url USER: the database as SQLAlchemy takes it.
cinder_url() {
  case $(cinder_database) in
    mariadb) echo "mysql+pymysql://$1:$database_password@127.0.0.1:$port_mariadb/cinder" ;;
    postgresql) echo "postgresql+psycopg2://$1:$database_password@127.0.0.1:$port_postgresql/cinder" ;;
  esac
}

# What a data folder began with it keeps.
cinder_database() {
  local name=${CBA_CINDER_DATABASE:-mariadb}
  [ ! -s "$home/cinder/database" ] || name=$(<"$home/cinder/database")
  case $name in
    mariadb | postgresql) echo "$name" ;;
    *) die "CBA_CINDER_DATABASE is mariadb or postgresql, not $name" ;;
  esac
}

cinder_conf() {
  cat >"$etc/cinder/cinder.conf" <<END
[DEFAULT]
transport_url = rabbit://$rabbit_user:$rabbit_password@127.0.0.1:$port_amqp/
host = $cinder_host
my_ip = 127.0.0.1
state_path = $home/cinder/state
auth_strategy = keystone
api_paste_config = /usr/share/cinder-common/api-paste.ini
resource_query_filters_file = /etc/cinder/resource_filters.json
rootwrap_config = /etc/cinder/rootwrap.conf
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = $port_cinder
osapi_volume_workers = 1
enabled_backends = files
default_volume_type = __DEFAULT__
quota_volumes = 500
quota_snapshots = 500
quota_backups = 500
quota_gigabytes = 5000
quota_backup_gigabytes = 5000
[files]
volume_driver = cinder_volume_driver.SparseFileDriver
volume_backend_name = files
files_folder = $home/cinder/volumes
files_export = ${CBA_VOLUME_EXPORT:-file}
volume_clear = none
[database]
connection = $(cinder_url cinder)
[oslo_concurrency]
lock_path = $home/cinder/state
[oslo_messaging_notifications]
driver = messagingv2
[keystone_authtoken]
$(cinder_login)
memcached_servers = 127.0.0.1:$port_memcached
service_token_roles = service
service_token_roles_required = true
[service_user]
send_service_user_token = true
$(cinder_login)
[privsep_osbrick]
helper_command = /usr/bin/privsep-helper --config-file $etc/cinder/cinder.conf
[cinder_sys_admin]
helper_command = /usr/bin/privsep-helper --config-file $etc/cinder/cinder.conf
END
  # Read after the other. A service token would break every backup of this release: get_token()
  # without a session raises TypeError.
  cat >"$etc/cinder/cinder-backup.conf" <<END
[DEFAULT]
host = ${CBA_CINDER_BACKUP_HOST:-$cinder_host}
backup_driver = cinder.backup.drivers.swift.SwiftBackupDriver
backup_swift_auth = per_user
backup_swift_service_auth = false
[database]
connection = $(cinder_url cinder_backup)
END
}

# Settings and tables; the tables once for each data folder.
prepare_cinder() (
  local database
  database=$(cinder_database) || return
  mkdir -p "$etc/cinder" "$home/cinder/state" "$home/cinder/volumes"
  exec 7>>"$home/cinder/lock"
  flock 7
  cinder_conf
  wait_for 120 "$database" "${database}_ready" || return
  [ ! -e "$home/cinder/prepared" ] || return 0
  echo "$database" >"$home/cinder/database"
  cinder-manage --config-file "$etc/cinder/cinder.conf" db sync >>"$log/cinder-manage.log" 2>&1 7>&- ||
    { say "cinder-manage failed; see $log/cinder-manage.log"; return 1; }
  touch "$home/cinder/prepared"
)

# spawn_cinder NAME OPTIONS...: as soon as what it needs answers, for a second try takes it seconds.
spawn_cinder() {
  local name=$1
  shift
  prepare_cinder || return
  wait_for 240 rabbitmq port_open "$port_amqp" || return
  # A Keystone that runs may have been started before it knew of Cinder.
  wait_for 240 keystone http_ok "$port_keystone" /v3 && keystone_accounts || return
  PYTHONPATH=$here/services.d OS_BRICK_LOCK_PATH=$home/cinder/state \
    spawn "cinder-$name" /usr/bin/python3 "$here/services.d/run_cinder.py" "$name" \
    --config-file "$etc/cinder/cinder.conf" "$@"
}

start_cinder_api() {
  spawn_cinder api && wait_for 180 cinder-api http_ok "$port_cinder" /healthcheck
}

start_cinder_scheduler() { spawn_cinder scheduler && wait_for 180 cinder-scheduler cinder_beats scheduler; }

start_cinder_volume() { spawn_cinder volume && wait_for 180 cinder-volume cinder_beats volume; }

start_cinder_backup() {
  spawn_cinder backup --config-file "$etc/cinder/cinder-backup.conf" \
    ${CBA_CINDER_BACKUP_CONF:+--config-file "$CBA_CINDER_BACKUP_CONF"} &&
    wait_for 180 cinder-backup cinder_beats backup
}

# cinder_beats NAME: whether a service has told that it lives since it was started here.
cinder_beats() {
  local began
  began=$(stat -c %Y "$run/cinder-$1.pid") || return
  [ "$(cinder_sql "SELECT count(*) FROM services WHERE topic = 'cinder-$1' AND NOT deleted
    AND updated_at >= '$(date -u -d "@$((began + 1))" '+%F %T')'")" != 0 ]
}

# cinder_sql STATEMENTS: what they tell, a row a line, without a head.
cinder_sql() {
  case $(cinder_database) in
    mariadb) mariadb_ --batch --raw --skip-column-names --execute "$1" ;;
    postgresql) postgresql_as cinder cinder --quiet --tuples-only --no-align \
      --set ON_ERROR_STOP=1 --command "$1" ;;
  esac
}

cinder_vars() {
  echo "CINDER_URL=http://127.0.0.1:$port_cinder/v3"
  echo "CINDER_HOST=$cinder_host"
  echo "CINDER_DATABASE=$(cinder_database)"
  echo "CINDER_VOLUMES=$home/cinder/volumes"
  echo "CINDER_CONF=$etc/cinder/cinder.conf"
  echo "CINDER_BACKUP_CONF=$etc/cinder/cinder-backup.conf"
}
