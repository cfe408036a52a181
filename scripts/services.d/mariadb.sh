# One MariaDB, for Cinder's database: over TCP on 127.0.0.1; its socket lies in its own data folder.
# Cinder owns the database, and a backup agent may read and write its rows but not change its tables.

database_password=database-secret

mariadb_accounts() {
  local user
  echo 'CREATE DATABASE IF NOT EXISTS cinder CHARACTER SET utf8mb3;'
  for user in cinder cinder_backup; do
    echo "CREATE USER IF NOT EXISTS '$user'@'127.0.0.1' IDENTIFIED BY '$database_password';"
  done
  echo "GRANT ALL ON cinder.* TO 'cinder'@'127.0.0.1';"
  echo "GRANT PROCESS ON *.* TO 'cinder'@'127.0.0.1';" # Tests count what each user asks for.
  echo "GRANT SELECT, INSERT, UPDATE, DELETE ON cinder.* TO 'cinder_backup'@'127.0.0.1';"
}

start_mariadb() {
  local data=$home/mariadb
  if [ ! -e "$data/prepared" ]; then
    rm -rf -- "$data"
    mkdir -p "$data"
    # In /tmp the files of two that are made at the same time would have the same names.
    TMPDIR=$data mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$data" --skip-test-db \
      --auth-root-authentication-method=socket >>"$log/mariadb.log" 2>&1 ||
      { say "mariadb-install-db failed; see $log/mariadb.log"; return 1; }
    touch "$data/prepared"
  fi
  mariadb_accounts >"$etc/mariadb.sql"
  # A relative socket is one in the data folder: the whole path may be longer than a socket's can be.
  spawn mariadb mariadbd --no-defaults --user="$(id -un)" --datadir="$data" \
    --bind-address=127.0.0.1 --port="$port_mariadb" --socket=mariadb.sock \
    --pid-file="$data/mariadb.pid" --tmpdir="$data" --init-file="$etc/mariadb.sql" --skip-name-resolve \
    --max-connections=400 --userstat=1 --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=2 \
    --character-set-server=utf8mb3 ${CBA_MARIADB_OPTIONS-}
  wait_for 120 mariadb mariadb_ready
}

mariadb_() {
  MYSQL_PWD=$database_password mariadb --no-defaults --host=127.0.0.1 --port="$port_mariadb" \
    --user=cinder --default-character-set=utf8mb4 cinder "$@"
}

mariadb_ready() { mariadb_ --execute 'SELECT 1' >/dev/null; }

mariadb_vars() {
  echo "MARIADB_PORT=$port_mariadb"
  echo "MARIADB_URL=mysql+pymysql://cinder:$database_password@127.0.0.1:$port_mariadb/cinder"
  echo "MARIADB_BACKUP_URL=mysql+pymysql://cinder_backup:$database_password@127.0.0.1:$port_mariadb/cinder"
}
