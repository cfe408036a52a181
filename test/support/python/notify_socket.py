"""A service manager's end of NOTIFY_SOCKET, for test/lib/sd-notify.test.ts.

Usage: notify_socket.py PATH. Says "listening", then one JSON text for each message that assigns
something; the empty ones by which systemd-notify makes sure that it was heard are left out.
"""

import json
import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
print('listening', flush=True)
while True:
    # Without room for descriptors the kernel closes them, which ends systemd-notify's wait.
    message = listener.recv(65536).decode()
    if message.strip() and message != 'BARRIER=1':
        print(json.dumps(message.rstrip('\n')), flush=True)
