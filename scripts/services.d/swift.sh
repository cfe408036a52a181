# One Swift cluster of one disk, one replica and two storage policies, with two doors: a proxy with
# Keystone auth, and one with tempauth (v1).

swift_tempauth_user=test:tester swift_tempauth_password=tempauth-secret

swift_rings() (
  local kind port
  mkdir -p "$etc/swift"
  exec 7>>"$etc/swift/lock"
  flock 7
  cd "$etc/swift" || exit
  [ "$(cat ports 2>/dev/null)" != "$port_amqp" ] || return 0
  cat >swift.conf <<END
[swift-hash]
swift_hash_path_prefix = cinder-backup
swift_hash_path_suffix = agent
[storage-policy:0]
name = gold
default = yes
[storage-policy:1]
name = silver
END
  for kind in account container object object-1; do
    port=port_swift_${kind%-1}
    rm -f "$kind.builder" "$kind.ring.gz"
    { swift-ring-builder "$kind.builder" create 4 1 1 &&
      swift-ring-builder "$kind.builder" add "r1z1-127.0.0.1:${!port}/disk" 1 &&
      swift-ring-builder "$kind.builder" rebalance; } >>"$log/swift-rings.log" 2>&1 || return
  done
  echo "$port_amqp" >ports
)

# Time limits far above Swift's own: on a busy machine a slow answer must not become a lost listing
# entry, for no updater runs here to bring it later.
spawn_swift_backend() {
  local kind=$1 workers=$2 port=port_swift_$1
  swift_rings || { say "the rings were not made; see $log/swift-rings.log"; return 1; }
  mkdir -p "$home/swift/disk"
  /usr/bin/python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.swift.test", b"1")' \
    "$home/swift/disk" 2>/dev/null ||
    { say "the file system of $home has no extended attributes, which Swift needs"; return 1; }
  cat >"$etc/swift/$kind-server.conf" <<END
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${!port}
workers = $workers
user = $(id -un)
swift_dir = $etc/swift
devices = $home/swift
mount_check = false
fallocate_reserve = 0
log_level = WARNING
conn_timeout = 20
node_timeout = 60
container_update_timeout = 60
[pipeline:main]
pipeline = healthcheck $kind-server
[app:$kind-server]
use = egg:swift#$kind
conn_timeout = 20
node_timeout = 60
container_update_timeout = 60
[filter:healthcheck]
use = egg:swift#healthcheck
END
  spawn "swift-$kind" /usr/bin/python3 "$here/services.d/run_swift.py" \
    "$kind" "$etc/swift/$kind-server.conf"
  wait_for 60 "swift-$kind" http_ok "${!port}" /healthcheck
}

start_swift_account() { spawn_swift_backend account 1; }
start_swift_container() { spawn_swift_backend container 1; }
start_swift_object() { spawn_swift_backend object 2; }

# spawn_swift_proxy NAME PORT WORKERS AUTH...
spawn_swift_proxy() {
  local name=$1 port=$2 workers=$3
  shift 3
  swift_rings || { say "the rings were not made; see $log/swift-rings.log"; return 1; }
  cat >"$etc/swift/$name.conf" <<END
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
workers = $workers
user = $(id -un)
swift_dir = $etc/swift
log_level = INFO
log_name = $name
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk $* copy container-quotas account-quotas slo dlo proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 20
node_timeout = 60
recoverable_node_timeout = 60
error_suppression_limit = 1000000
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = http://127.0.0.1:$port_keystone/v3
auth_url = http://127.0.0.1:$port_keystone/v3
auth_type = password
username = swift
password = $service_password
user_domain_id = default
project_name = service
project_domain_id = default
delay_auth_decision = true
cache = swift.cache
# A revoked token is refused after two seconds, not after the usual five minutes.
token_cache_time = 2
include_service_catalog = false
service_token_roles = service
service_token_roles_required = true
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
reseller_prefix = AUTH
[filter:tempauth]
use = egg:swift#tempauth
user_admin_admin = $admin_password .admin .reseller_admin
user_${swift_tempauth_user/:/_} = $swift_tempauth_password .admin
[filter:tempauth-short]
use = egg:swift#tempauth
reseller_prefix = SHORT
auth_prefix = /auth-short/
token_life = ${CBA_TOKEN_SECONDS:-10}
user_${swift_tempauth_user/:/_} = $swift_tempauth_password .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$port_memcached
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:account-quotas]
use = egg:swift#account_quotas
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
END
  spawn "$name" /usr/bin/python3 "$here/services.d/run_swift.py" proxy "$etc/swift/$name.conf"
  wait_for 60 "$name" http_ok "$port" /healthcheck
}

start_swift_proxy() {
  spawn_swift_proxy swift-proxy "$port_swift_proxy" 2 authtoken keystoneauth
}

start_swift_tempauth() {
  spawn_swift_proxy swift-tempauth "$port_swift_tempauth" 1 tempauth tempauth-short
}

swift_vars() {
  cat <<END
SWIFT_URL=http://127.0.0.1:$port_swift_proxy
SWIFT_TEMPAUTH_URL=http://127.0.0.1:$port_swift_tempauth/auth/v1.0
SWIFT_TEMPAUTH_SHORT_URL=http://127.0.0.1:$port_swift_tempauth/auth-short/v1.0
SWIFT_TEMPAUTH_USER=$swift_tempauth_user
SWIFT_TEMPAUTH_PASSWORD=$swift_tempauth_password
END
}
