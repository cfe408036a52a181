"""Debian's real cinder-backup Swift driver at work once, in a process of its own, measured.

usage: peer_cinder.py VERB --url URL --project ID --chain ID... [...]

    backup    of --file as the last of the chain, against the one before it where there is one
    restore   of the last of the chain onto --file, which must be there
    delete    of the last of the chain

Driver, swiftclient, compression and hashing are Cinder's own (package python3-cinder). Database, volume
and notifications are stand-ins that cost nothing, and the time to start is not counted: both favour
the peer. --chain names a full backup and those that build on it, in order; no id begins with another.
--unhashed tells a store that is our sink to spare the MD5 of what it gets; its ETag is then taken
unseen, after the driver has computed its own as ever.

Prints one JSON object: seconds of wall and CPU of the driver's part, peak RSS of the process.
"""
import eventlet

eventlet.monkey_patch()  # As cinder/cmd/backup.py does.

import argparse  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import time  # noqa: E402

from oslo_config import cfg  # noqa: E402

from cinder import context  # noqa: E402
from cinder import objects  # noqa: E402

objects.register_all()

from cinder.backup.drivers import swift  # noqa: E402
from cinder.volume import volume_utils  # noqa: E402

CONF = cfg.CONF
GIB = 1 << 30


class Record(dict):
    """A row of `backups` that needs no database."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__

    def save(self):
        pass

    def refresh(self):
        pass

    @contextlib.contextmanager
    def as_read_deleted(self):
        yield


class AnyEtag(str):
    """Equal to whatever the driver expects."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False


class Database:
    def __init__(self, gib):
        self.gib = gib

    def volume_get(self, _context, volume_id):
        return {'id': volume_id, 'size': self.gib}


def make_chain(options, gib):
    status = {'backup': 'creating', 'restore': 'restoring', 'delete': 'deleting'}[options.verb]
    return {
        backup_id: Record(
            id=backup_id, parent_id=parent, volume_id=options.volume_id, size=gib,
            status=status if backup_id == options.chain[-1] else 'available',
            container=options.container, object_count=0, created_at='2024-01-01', display_name='bench',
            service_metadata=prefix_of(options.volume_id, backup_id), display_description='')
        for backup_id, parent in zip(options.chain, [None] + options.chain)}


def prefix_of(volume_id, backup_id):
    return 'volume_%s/20240101000000/az_nova_backup_%s' % (volume_id, backup_id)


def make_driver(options, chain, gib):
    class Backup:
        @staticmethod
        def get_by_id(_context, backup_id):
            return chain[backup_id]

    objects.Backup = Backup
    volume_utils.notify_about_backup_usage = lambda *_arguments, **_named: None
    CONF([], project='cinder', default_config_files=[])
    CONF.set_override('backup_compression_algorithm', options.codec)
    CONF.set_override('backup_swift_url', options.url)
    driver = swift.SwiftBackupDriver(context.RequestContext(
        user_id='bench', project_id=options.project, is_admin=True, auth_token=options.token))
    driver.db = Database(gib)
    driver._generate_object_name_prefix = lambda record: record.service_metadata
    if options.unhashed:
        put = driver.conn.put_object
        driver.conn.put_object = lambda *arguments, **named: AnyEtag(
            put(*arguments, **dict(named, headers={'x-unhashed': 'yes'})))
    return driver


def perform(driver, verb, record, file):
    if verb == 'delete':
        driver.delete_backup(record)
        return
    with open(file, 'rb' if verb == 'backup' else 'r+b') as volume:
        if verb == 'backup':
            driver.backup(record, volume, backup_metadata=False)
        else:
            driver.restore(record, record.volume_id, volume)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('verb', choices=['backup', 'restore', 'delete'])
    parser.add_argument('--url', required=True)
    parser.add_argument('--project', required=True)
    parser.add_argument('--token', default='token')
    parser.add_argument('--chain', nargs='+', required=True)
    parser.add_argument('--file')
    parser.add_argument('--codec', default='zlib')
    parser.add_argument('--container', default='volumebackups')
    parser.add_argument('--volume-id', default='v1')
    parser.add_argument('--unhashed', action='store_true')
    options = parser.parse_args()

    size = os.path.getsize(options.file) if options.file else GIB
    gib = max(1, -(-size // GIB))
    chain = make_chain(options, gib)
    driver = make_driver(options, chain, gib)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    perform(driver, options.verb, chain[options.chain[-1]], options.file)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        'wallSeconds': wall,
        'cpuSeconds': after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        'peakKib': after.ru_maxrss}))


main()
