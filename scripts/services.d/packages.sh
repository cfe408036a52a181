# Debian packages: what each process needs, and how it gets here.

packages_of() {
  local name
  case $1 in
    epmd | rabbitmq) echo rabbitmq-server ;;
    memcached) echo memcached ;;
    keystone*) echo keystone uwsgi-core uwsgi-plugin-python3 ;;
    swift-*) echo swift swift-proxy swift-account swift-container swift-object ;;
    mariadb) echo mariadb-server-core mariadb-client-core ;;
    postgresql) echo postgresql ;;
    # os-brick, which the backup service asks about the machine, dies where there is no dmidecode.
    cinder-*) echo cinder-common python3-cinder cinder-backup python3-pymysql python3-psycopg2 dmidecode ;;
    # What the tests call and start, and what their Python peers import.
    tests) echo $(for name in mariadb postgresql cinder-api; do packages_of $name; done) \
      bzip2 e2fsprogs mount openssl nbdkit libnbd-bin fuse3 \
      libbz2-1.0 libdeflate0 libisal2 libzstd1 \
      python3-oslo.messaging python3-os-brick python3-zstd \
      python3-jsonschema python3-seccomp systemd util-linux ;;
    # What `make bench` measures beside the agent, and compiles.
    bench) echo restic gcc libc6-dev libssl-dev zlib1g-dev libbz2-dev libzstd-dev \
      libdeflate-dev libisal-dev ;;
  esac
}

missing_packages() {
  local name package
  for package in $(for name in "$@"; do packages_of "$name"; done | tr ' ' '\n' | sort -u); do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)" = 'ii ' ] || echo "$package"
  done
}

# require_packages PROCESS...: with all of them, what the tests themselves need comes along.
require_packages() {
  local missing names="$*"
  [[ $names != *swift-proxy* ]] || names="$names tests"
  missing=$(missing_packages $names)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "these Debian packages are missing, and only root can install them, with apt-get:" $missing
  fi
  (install_packages "$names")
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=900 -o Acquire::Retries=5 \
    -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" </dev/null >>"$home/apt.log" 2>&1
}

# One at a time on the machine. No package may start its service by itself: the policy that says so
# is there only while we install.
install_packages() {
  local missing policy=/usr/sbin/policy-rc.d
  mkdir -p "$home"
  exec 8>>"/run/lock/cinder-backup-agent-apt"
  flock -w 1800 8
  missing=$(missing_packages $1)
  [ -n "$missing" ] || return 0
  say "installing Debian packages:" $missing
  if [ ! -e $policy ]; then
    trap "rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  # Lists that are missing or too old to fetch by are renewed once.
  apt install --no-install-recommends $missing ||
    { apt update && apt install --no-install-recommends $missing; } ||
    { tail -n 15 "$home/apt.log" >&2; die "apt-get failed; all of it is in $home/apt.log"; }
}
