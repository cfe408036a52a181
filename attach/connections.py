"""What is connected to this host for the agent, and on record, so that a kill forgets nothing.

A record is written before os-brick is asked and removed after it has disconnected. It names the
process that asked; what is of a process that is gone is disconnected.
"""

import contextlib
import json
import logging
import os
import stat
import threading

import brick
import holders
import loops

log = logging.getLogger(__name__)


class InUse(Exception):
    """A process that lives has it."""


class Failed(Exception):
    """os-brick could not do it."""


class Connections:
    def __init__(self, folder, nodes, mounts):
        self.folder = folder
        self.nodes = nodes
        self.mounts = mounts
        self._locks = {}
        self._lock = threading.Lock()
        self._told = set()  # Each failure once: the next try comes in a minute.
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def repair(self):
        """After a start: what has no record is no connection."""
        for name in os.listdir(self.folder):
            if name.endswith('.new'):
                os.unlink(os.path.join(self.folder, name))
        self.nodes.keep_only(set(self.names()))
        for name in self.names():
            record = self._read(name)
            if record['device'] is None:  # The kill came before an answer.
                self._write({**record, 'released': True})

    def names(self):
        return sorted(name for name in os.listdir(self.folder) if not name.endswith('.new'))

    def connect(self, asked, held_by):
        """The path of a node that the agent may open. Nothing is left connected where it raises."""
        name = asked['id']
        with self._own(name):
            before = self._read(name)
            if before is not None and self._is_held(before) and before['holder'] != held_by:
                raise InUse('%s is connected already, for process %d' % (name, before['holder'][0]))
            if before is not None:
                # What is of a process that is gone, or of the same, which has each volume once at a time.
                self._end(before, ignore_errors=True)
            brick.check(asked)
            record = {
                **{'asked': asked, 'holder': held_by, 'released': False},
                **{'device': None, 'loop': None},
            }
            self._write(record)
            try:
                record['device'] = brick.connect(asked)
                self._write(record)
                device = self._block_device(record)
                return self.nodes.make(name, device, asked['access'])
            except BaseException as error:
                self._undo(record)
                if isinstance(error, brick.Unsupported):
                    raise
                raise Failed(brick.told(error, asked)) from error

    def disconnect(self, name, held_by, ignore_errors):
        """Nothing where it is not connected: it may be asked again."""
        with self._own(name):
            record = self._read(name)
            if record is None:
                return
            if self._is_held(record) and record['holder'] != held_by:
                raise InUse('%s is connected for process %d' % (name, record['holder'][0]))
            self._end(record, ignore_errors)

    def let_go(self):
        """Disconnects what no process has any more; what fails is on record for the next time."""
        for name in self.names():
            with self._own(name):
                record = self._read(name)
                if record is None or self._is_held(record):
                    continue
                try:
                    self._end(record, ignore_errors=True)
                    log.warning('%s was left connected, and is disconnected now', name)
                    self._told.discard(name)
                except Failed as error:
                    if name not in self._told:
                        log.error('%s was left connected, and stays so for now: %s', name, error)
                    self._told.add(name)

    def held_by(self):
        """The processes that have something."""
        records = [self._read(name) for name in self.names()]
        return [record['holder'] for record in records if record is not None]

    def _is_held(self, record):
        return not record['released'] and holders.is_alive(record['holder'])

    def _end(self, record, ignore_errors):
        asked = record['asked']
        self.nodes.remove(asked['id'])
        if not record['released']:
            record['released'] = True
            self._write(record)
        try:
            if record['loop'] is not None:
                loops.detach(record['loop'])
                record['loop'] = None
                self._write(record)
            brick.disconnect(asked, record['device'], ignore_errors)
        except Exception as error:
            raise Failed(brick.told(error, asked)) from error
        os.unlink(self._file(asked['id']))

    def _undo(self, record):
        try:
            self._end(record, ignore_errors=True)
        except Failed as error:
            name = record['asked']['id']
            log.error('%s may still be connected: %s', name, error)
            if record['device'] is None:
                os.unlink(self._file(name))  # os-brick has undone what it could: it never had it.

    def _block_device(self, record):
        """The device of a connection, if it is one that another process can open."""
        device, kind = record['device'], record['asked']['type']
        path = device.get('path') if isinstance(device, dict) else None
        if not isinstance(path, str):
            raise brick.Unsupported('%s gives a %s, and no device' % (kind, type(path).__name__))
        mode = os.stat(path).st_mode
        if stat.S_ISBLK(mode):
            return path
        real = os.path.realpath(path)
        if stat.S_ISREG(mode) and real.startswith(self.mounts + os.sep):
            # A share is mounted here and nowhere else. Files of this host are nobody's volumes.
            record['loop'] = loops.attach(real, record['asked']['access'])
            self._write(record)
            return record['loop']
        is_folder = stat.S_ISDIR(mode)
        what = 'a folder' if is_folder else 'a file' if stat.S_ISREG(mode) else 'no device'
        raise brick.Unsupported('%s gives %s, and no block device' % (kind, what))

    def _file(self, name):
        return os.path.join(self.folder, name)

    def _read(self, name):
        try:
            with open(self._file(name), encoding='utf-8') as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def _write(self, record):
        file = self._file(record['asked']['id'])
        with open(file + '.new', 'w', encoding='utf-8') as out:
            json.dump(record, out, default=repr)  # A device may be an object, which is refused next.
        os.rename(file + '.new', file)

    @contextlib.contextmanager
    def _own(self, name):
        """One at a time for each name."""
        with self._lock:
            lock, waiting = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._locks[name]
                if waiting == 1:
                    del self._locks[name]
                else:
                    self._locks[name] = (lock, waiting - 1)
