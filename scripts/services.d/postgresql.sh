# One PostgreSQL cluster of our own, over TCP on 127.0.0.1 alone, with the same database and users as
# MariaDB has. The server refuses to be root: then it is the user that Debian's package made.

postgresql_bin() { dirname "$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)"; }

start_postgresql() {
  local data=$home/postgresql as=() bin
  bin=$(postgresql_bin)
  # Becomes that user and then the server itself, so that the pid is the server's.
  [ "$(id -u)" != 0 ] || as=(setpriv --reuid postgres --regid postgres --init-groups --)
  if [ ! -e "$data/initialized" ]; then
    rm -rf -- "$data"
    mkdir -p "$data"
    [ ${#as[@]} = 0 ] || chown postgres "$data"
    "${as[@]}" test -x "$data" ||
      { say "PostgreSQL's user may not enter $home: choose another CBA_SERVICES_DIR"; return 1; }
    echo "$database_password" | "${as[@]}" tee "$data/password" >/dev/null || return
    (cd "$data" && "${as[@]}" "$bin/initdb" --pgdata="$data/cluster" --username=postgres \
      --pwfile="$data/password" --auth=scram-sha-256 --encoding=UTF8 --no-sync) \
      >>"$log/postgresql.log" 2>&1 ||
      { say "initdb failed; see $log/postgresql.log"; return 1; }
    touch "$data/initialized"
  fi
  (cd "$data" && spawn postgresql "${as[@]}" "$bin/postgres" -D "$data/cluster" \
    -c listen_addresses=127.0.0.1 -c "port=$port_postgresql" -c unix_socket_directories= \
    -c max_connections=400 -c synchronous_commit=off -c timezone=UTC ${CBA_POSTGRESQL_OPTIONS-})
  wait_for 60 postgresql postgresql_ready || return
  [ ! -e "$data/prepared" ] || return 0
  postgresql_accounts | postgresql_as postgres postgres --set ON_ERROR_STOP=1 \
    >>"$log/postgresql.log" 2>&1 ||
    { say "the accounts were not made; see $log/postgresql.log"; return 1; }
  touch "$data/prepared"
}

# The tables are Cinder's, made later: what it makes, the backup agent may read and write.
postgresql_accounts() {
  cat <<END
CREATE ROLE cinder LOGIN PASSWORD '$database_password';
CREATE ROLE cinder_backup LOGIN PASSWORD '$database_password';
CREATE DATABASE cinder OWNER cinder;
\\connect cinder
ALTER DEFAULT PRIVILEGES FOR ROLE cinder IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cinder_backup;
ALTER DEFAULT PRIVILEGES FOR ROLE cinder IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO cinder_backup;
GRANT ALL ON SCHEMA public TO cinder;
GRANT USAGE ON SCHEMA public TO cinder_backup;
END
}

# postgresql_as USER DATABASE ARGS
postgresql_as() {
  local user=$1 database=$2
  shift 2
  PGPASSWORD=$database_password psql --no-psqlrc --host=127.0.0.1 --port="$port_postgresql" \
    --username="$user" --dbname="$database" "$@"
}

postgresql_ready() { postgresql_as postgres postgres --command 'SELECT 1' >/dev/null; }

postgresql_vars() {
  echo "POSTGRESQL_PORT=$port_postgresql"
  echo "POSTGRESQL_URL=postgresql+psycopg2://cinder:$database_password@127.0.0.1:$port_postgresql/cinder"
  echo "POSTGRESQL_BACKUP_URL=postgresql+psycopg2://cinder_backup:$database_password@127.0.0.1:$port_postgresql/cinder"
}
