"""Attaches volumes to this host for the backup agent, by os-brick, which needs root.

Run by cinder-backup-agent-attach.service. Listens on DIR/socket of --runtime, and answers nobody but
--user. See docs/decisions/0019-attaching-is-a-unit-of-its-own.md.
"""

import argparse
import logging
import os
import pwd
import signal
import socket
import sys

import brick
import server
from connections import Connections
from nodes import Nodes


def main():
    options = _options()
    os.umask(0o077)
    # As the journal takes it: the level in front, the time is its own.
    logging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s: %(message)s')
    user_id = int(options.user) if options.user.isdigit() else pwd.getpwnam(options.user).pw_uid
    runtime = os.path.realpath(options.runtime)
    locks, mounts, records = (
        os.path.join(runtime, name) for name in ('locks', 'mounts', 'connections')
    )
    for folder in (locks, mounts):
        os.makedirs(folder, exist_ok=True)
    brick.set_up(options.locks or locks, mounts)
    kept = Connections(records, Nodes(options.nodes, user_id), mounts)
    kept.repair()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    socket_path = os.path.join(runtime, 'socket')
    listener = server.listen(socket_path, user_id)
    try:
        _say_ready()
        server.Server(listener, user_id, kept).serve()
    finally:
        os.unlink(socket_path)  # So that who asks a unit that is stopped does not wait for it.


def _options():
    parser = argparse.ArgumentParser(prog='cinder-backup-agent-attach', description=__doc__)
    parser.add_argument('--user', required=True, help='who may ask, and whose the nodes are')
    parser.add_argument('--runtime', required=True, help='folder of the socket and the records')
    parser.add_argument('--nodes', required=True, help='folder of the device nodes')
    parser.add_argument('--locks', help='lock_path of os-brick, where others use it on this host')
    return parser.parse_args()


def _say_ready():
    """Source: sd_notify(3)."""
    address = os.environ.get('NOTIFY_SOCKET', '')
    if not address:
        return
    if address.startswith('@'):
        address = '\0' + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.sendto(b'READY=1', address)


if __name__ == '__main__':
    sys.exit(main())
