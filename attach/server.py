"""The socket: one request and one answer for each connection to it, from the agent's user only."""

import contextlib
import json
import logging
import os
import selectors
import socket
import struct
import threading
import time

import asked as requests
import brick
import connections
import holders

log = logging.getLogger(__name__)

_AT_ONCE = 64
_REQUEST_SECONDS = 10
_LOOK_SECONDS = 60  # What could not be disconnected is tried again.

_KINDS = {
    requests.Refused: 'refused',
    brick.Unsupported: 'unsupported',
    connections.InUse: 'in_use',
    connections.Failed: 'failed',
}


def listen(path, user_id):
    """A socket that only this user may connect to. One that was left is replaced, and never missing."""
    made = path + '.new'
    with contextlib.suppress(FileNotFoundError):
        os.unlink(made)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(made)
    os.chmod(made, 0o600)
    os.chown(made, user_id, -1)
    listener.listen(_AT_ONCE)
    os.rename(made, path)
    return listener


class Server:
    def __init__(self, listener, user_id, kept):
        self.listener = listener
        self.user_id = user_id
        self.kept = kept
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._watched = {}
        self._gone = set()  # Those whose end has been seen: not to be looked at again at once.
        self._wake, self._woken = socket.socketpair()
        self._looking = threading.Lock()

    def serve(self):
        """For ever. The main thread only waits; who asks, and who is gone, has a thread each."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            self._let_go()
            while True:
                is_gone = self._watch(selector)
                ready = selector.select(0 if is_gone else _LOOK_SECONDS)
                is_gone = is_gone or not ready
                for key, _ in ready:
                    if key.fileobj is self.listener:
                        self._accept()
                    elif key.fileobj is self._woken:
                        self._woken.recv(4096)
                    else:
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        del self._watched[key.data]
                        self._gone.add(key.data)
                        is_gone = True
                if is_gone:
                    self._let_go()

    def _watch(self, selector):
        """Whether a process that is new here is gone already."""
        is_gone = False
        present = {tuple(held_by) for held_by in self.kept.held_by()}
        self._gone &= present
        for name in present:
            if name in self._watched:
                continue
            descriptor = holders.watch(name)
            if descriptor is None:
                is_gone = is_gone or name not in self._gone
                self._gone.add(name)
            else:
                self._watched[name] = descriptor
                selector.register(descriptor, selectors.EVENT_READ, name)
        return is_gone

    def _let_go(self):
        def look():
            if not self._looking.acquire(blocking=False):
                return  # It looks at all of them anyway, or the next minute does.
            try:
                self.kept.let_go()
            except Exception:
                log.exception('what nobody has any more could not be disconnected')
            finally:
                self._looking.release()

        threading.Thread(target=look, daemon=True).start()

    def _accept(self):
        peer, _ = self.listener.accept()
        pid, user_id, _ = struct.unpack(
            '3i', peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize('3i'))
        )
        if user_id != self.user_id:
            log.warning('a process of user %d asked, and was not heard', user_id)
            peer.close()
        elif not self._places.acquire(blocking=False):
            peer.close()  # More than any agent asks at once.
        else:
            threading.Thread(target=self._talk, args=(peer, pid), daemon=True).start()

    def _talk(self, peer, pid):
        try:
            with peer:
                self._answer(peer, pid)
        except OSError as error:
            log.info('whoever asked went away: %s', error)
        except Exception:
            log.exception('a request ended in a way that was not thought of')
        finally:
            self._places.release()

    def _answer(self, peer, pid):
        asked = None
        try:
            asked = requests.parse(_line(peer))
            answer = {'result': self._do(asked, holders.holder(pid))}
        except tuple(_KINDS) as error:
            answer = {'error': {'kind': _KINDS[type(error)], 'message': str(error)}}
            what = asked['method'] if asked else 'a request'
            name = asked.get('id', '') if asked else ''
            log.warning('%s %s: %s', what, name, error)
        self._wake.send(b'.')
        peer.settimeout(_REQUEST_SECONDS)
        try:
            peer.sendall(json.dumps(answer).encode() + b'\n')
        except OSError:
            if asked and asked['method'] == 'connect' and 'result' in answer:
                # Nobody knows of it: the agent gave up, or is gone.
                self.kept.disconnect(asked['id'], holders.holder(pid), ignore_errors=True)
            raise

    def _do(self, asked, held_by):
        method = asked['method']
        if method == 'properties':
            return self._properties(asked)
        name = asked['id']
        if method == 'connect':
            path = self.kept.connect(asked, held_by)
            log.info('%s is connected by %s, for process %d', name, asked['type'], held_by[0])
            return {'path': path}
        self.kept.disconnect(name, held_by, asked['ignore_errors'])
        log.info('%s is disconnected', name)
        return None

    def _properties(self, asked):
        try:
            return brick.properties(asked['my_ip'], asked['multipath'])
        except Exception as error:
            raise connections.Failed(brick.told(error, asked)) from error


def _line(peer):
    """One line and no more of it than a request may have."""
    until = time.monotonic() + _REQUEST_SECONDS
    read = b''
    while not read.endswith(b'\n'):
        peer.settimeout(max(0.001, until - time.monotonic()))
        try:
            more = peer.recv(65536)
        except TimeoutError as error:
            raise requests.Refused('the request takes too long') from error
        if not more:
            raise requests.Refused('the request ends before its line does')
        read += more
        if len(read) > requests.LINE_MAX:
            raise requests.Refused('the request is longer than %d bytes' % requests.LINE_MAX)
    if b'\n' in read[:-1]:
        raise requests.Refused('there is one request for each connection')
    return read
