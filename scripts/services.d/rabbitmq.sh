# One RabbitMQ node with its own port mapper (epmd), so that any number of them live side by side.

rabbit_user=agent rabbit_password=rabbit-secret

rabbit_environment() {
  export HOME=$home/rabbitmq
  export ERL_EPMD_PORT=$port_epmd ERL_EPMD_ADDRESS=127.0.0.1
  export RABBITMQ_NODENAME=agent@localhost RABBITMQ_DIST_PORT=$port_dist
  export RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE=$etc/rabbitmq.conf
  export RABBITMQ_ADVANCED_CONFIG_FILE=$etc/rabbitmq-advanced.config
  export RABBITMQ_ENABLED_PLUGINS_FILE=$etc/rabbitmq-plugins
  export ERL_CRASH_DUMP=$log/erl_crash.dump  # Never where the test was started.
  export RABBITMQ_MNESIA_BASE=$HOME/mnesia RABBITMQ_LOG_BASE=$log
  # Erlang's own connections too stay on this machine.
  local loopback='-kernel inet_dist_use_interface {127,0,0,1}'
  # A scheduler that spins while it waits would take a core from the tests.
  local calm='+sbwt none +sbwtdcpu none +sbwtdio none'
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$loopback $calm" RABBITMQ_CTL_ERL_ARGS=$loopback
  # Makes the server script become the broker, whose own pid we keep then.
  export RUNNING_UNDER_SYSTEMD=true
}

rabbitmqctl_() (
  read_ports || die "nothing was ever started in $home: run 'make services'"
  rabbit_environment
  cd "$HOME" || exit
  exec /usr/lib/rabbitmq/bin/rabbitmqctl "$@"
)

start_epmd() {
  spawn epmd epmd -address 127.0.0.1 -port "$port_epmd"
  wait_for 20 epmd port_open "$port_epmd"
}

start_rabbitmq() {
  mkdir -p "$home/rabbitmq"
  local plugins=${CBA_RABBIT_PLUGINS-rabbitmq_management}
  echo "[$plugins]." >"$etc/rabbitmq-plugins"
  echo '[].' >"$etc/rabbitmq-advanced.config"
  cat >"$etc/rabbitmq.conf" <<END
listeners.tcp.1 = 127.0.0.1:$port_amqp
loopback_users = none
default_user = $rabbit_user
default_pass = $rabbit_password
disk_free_limit.absolute = 50MB
log.file.level = info
END
  case $plugins in *rabbitmq_management*) cat >>"$etc/rabbitmq.conf" <<END ;; esac
management.tcp.ip = 127.0.0.1
management.tcp.port = $port_management
management.rates_mode = none
END
  # What a test's own broker has beyond that: a listener with TLS, say.
  printf '%s\n' "${CBA_RABBIT_CONF-}" >>"$etc/rabbitmq.conf"
  wait_for 20 epmd port_open "$port_epmd" || return
  (rabbit_environment; spawn rabbitmq /usr/lib/rabbitmq/bin/rabbitmq-server)
  wait_for 120 rabbitmq port_open "$port_amqp"
}

rabbitmq_vars() {
  echo "RABBIT_HOST=127.0.0.1"
  echo "RABBIT_PORT=$port_amqp"
  echo "RABBIT_USER=$rabbit_user"
  echo "RABBIT_PASSWORD=$rabbit_password"
  echo "RABBIT_MANAGEMENT_URL=http://127.0.0.1:$port_management"
}
