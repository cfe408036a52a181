"""Debian's real cinder backup drivers, without a cloud.

usage: cinder_driver.py     one JSON request a line on standard input, one answer a line

The drivers, swiftclient, compression and hashing are Cinder's own (package python3-cinder); the
database is a stand-in that knows the records of the request. A request is an object with

    verb         backup, restore or delete
    store        {"driver": "swift", "url", "token"} or {"driver": "posix", "path"}
    options      names and values of cinder.conf's [DEFAULT]
    chain        records from the full backup to the one to act on; each field as in the database
    file         the volume: read by `backup`, written by `restore` (it must be there: it is opened as
                 a device is, never cut)
    volume_meta  what `backup` stores as the volume's metadata: text or null

and the answer an object with

    record       the record acted on, as the driver left it
    progress     backup_percent of each progress event
    volume_meta  what `restore` would write to the volume's rows, oldest link first
    error        instead of all these, where the driver raised: class and text
"""
import eventlet

eventlet.monkey_patch()  # As cinder/cmd/backup.py does.

import contextlib  # noqa: E402
import datetime  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402

from oslo_config import cfg  # noqa: E402

from cinder import context  # noqa: E402
from cinder import objects  # noqa: E402

objects.register_all()

from cinder.backup.drivers import posix  # noqa: E402
from cinder.backup.drivers import swift  # noqa: E402
from cinder.volume import volume_utils  # noqa: E402

CONF = cfg.CONF


class Record(dict):
    """A row of `backups` that needs no database; both row['x'] and row.x work, as on Cinder's."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__

    def save(self):
        pass

    def refresh(self):
        pass

    @contextlib.contextmanager
    def as_read_deleted(self):
        yield


class Database:
    def __init__(self, record):
        self.record = record

    def volume_get(self, _context, volume_id):
        return {'id': volume_id, 'size': self.record.size}


def make_record(fields, status):
    record = Record(fields, status=status)
    if record['created_at']:
        record['created_at'] = datetime.datetime.fromisoformat(record['created_at'])
    return record


def make_driver(store, record):
    ctxt = context.RequestContext(
        user_id=record.user_id or 'nobody', project_id=record.project_id, is_admin=True)
    if store['driver'] == 'posix':
        CONF.set_override('backup_posix_path', store['path'])
        return posix.PosixBackupDriver(ctxt)
    # The driver joins the option's text and the context's project.
    account_prefix, ctxt.project_id = store['url'].rsplit('_', 1)
    CONF.set_override('backup_swift_url', account_prefix + '_')
    ctxt.auth_token = store['token']
    return swift.SwiftBackupDriver(ctxt)


def perform(request):
    chain = {fields['id']: make_record(fields, 'available') for fields in request['chain']}
    record = list(chain.values())[-1]

    class Backup:
        @staticmethod
        def get_by_id(_context, backup_id):
            return chain[backup_id]

    objects.Backup = Backup
    progress, volume_meta = [], []

    def notify(_context, _backup, _event, extra_usage_info=None, **_more):
        progress.append(extra_usage_info['backup_percent'])

    volume_utils.notify_about_backup_usage = notify
    driver = make_driver(request['store'], record)
    driver.db = Database(record)
    driver.get_metadata = lambda _volume_id: request.get('volume_meta')
    driver.put_metadata = lambda _volume_id, text: volume_meta.append(text)

    if request['verb'] == 'backup':
        record.status = 'creating'
        with open(request['file'], 'rb') as volume:
            driver.backup(record, volume)
        record.status = 'available'
        record.service = '%s.%s' % (type(driver).__module__, type(driver).__name__)
    elif request['verb'] == 'restore':
        record.status = 'restoring'
        with open(request['file'], 'r+b') as volume:
            driver.restore(record, record.volume_id, volume)
        record.status = 'available'
    else:
        record.status = 'deleting'
        driver.delete_backup(record)
        record.status = 'deleted'
    if record['created_at']:
        record['created_at'] = record['created_at'].isoformat()
    return {'record': record, 'progress': progress, 'volume_meta': volume_meta}


def main():
    CONF([], project='cinder', default_config_files=[])
    for line in sys.stdin:
        request = json.loads(line)
        for name, value in request.get('options', {}).items():
            CONF.set_override(name, value)
        try:
            answer = perform(request)
        except Exception as error:
            answer = {'error': '%s: %s' % (type(error).__name__, error)}
        for name in request.get('options', {}):
            CONF.clear_override(name)
        print(json.dumps(answer), flush=True)


main()
