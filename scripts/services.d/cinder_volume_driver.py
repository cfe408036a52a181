"""A volume driver for Cinder: one sparse file for each volume and each snapshot, in one folder.

Connections are of os-brick's type `local`. Their device path is the file or, with
`files_export = loop`, a loop device over it: a real block device. A volume whose metadata has
`export` is exported as that type of os-brick instead, with a loop device: as `gpfs`, which takes a
device path too.
"""
import os
import time

from cinder import interface
from cinder.volume import configuration, driver
from oslo_concurrency import processutils
from oslo_config import cfg

GIB = 1024 ** 3

OPTIONS = [
    cfg.StrOpt('files_folder', help='Where the files of volumes and snapshots lie.'),
    cfg.StrOpt('files_export', default='file', choices=['file', 'loop'],
               help='What the device path of a connection is.'),
    cfg.BoolOpt('files_temporary_snapshot', default=False,
                help='Back a volume in use up by a temporary snapshot, not by a clone.'),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


def copy(source, target):
    processutils.execute('cp', '--sparse=always', source, target)
    try:
        # So many seconds a copy takes longer: a test says so while the service runs.
        with open(os.path.join(os.path.dirname(target), 'copy-seconds')) as file:
            time.sleep(float(file.read()))
    except FileNotFoundError:
        pass


def grow(path, size_gb):
    if os.path.getsize(path) < size_gb * GIB:
        os.truncate(path, size_gb * GIB)


@interface.volumedriver
class SparseFileDriver(driver.VolumeDriver):
    VERSION = '1.0.0'
    CI_WIKI_NAME = 'none'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)

    def do_setup(self, context):
        os.makedirs(self.configuration.files_folder, exist_ok=True)

    def check_for_setup_error(self):
        pass

    def get_volume_stats(self, refresh=False):
        return {
            'volume_backend_name': self.configuration.safe_get('volume_backend_name'),
            'vendor_name': 'none',
            'driver_version': self.VERSION,
            'storage_protocol': 'local',
            'total_capacity_gb': 'infinite',
            'free_capacity_gb': 'infinite',
            'reserved_percentage': 0,
            'QoS_support': False,
            'multiattach': False,
            'online_extend_support': True,
        }

    def secure_file_operations_enabled(self):
        # Whoever reads the path opens it as it is: nobody changes its owner first.
        return True

    def backup_use_temp_snapshot(self):
        return self.configuration.files_temporary_snapshot

    def _path(self, kind, thing):
        return os.path.join(self.configuration.files_folder, '%s-%s' % (kind, thing['id']))

    def local_path(self, volume):
        return self._path('volume', volume)

    # Volumes and snapshots.

    def create_volume(self, volume):
        path = self.local_path(volume)
        with open(path, 'xb'):
            pass
        grow(path, volume['size'])

    def extend_volume(self, volume, new_size):
        grow(self.local_path(volume), new_size)

    def create_snapshot(self, snapshot):
        copy(self.local_path(snapshot['volume']), self._path('snapshot', snapshot))

    def create_volume_from_snapshot(self, volume, snapshot):
        copy(self._path('snapshot', snapshot), self.local_path(volume))
        grow(self.local_path(volume), volume['size'])

    def create_cloned_volume(self, volume, src_vref):
        copy(self.local_path(src_vref), self.local_path(volume))
        grow(self.local_path(volume), volume['size'])

    def revert_to_snapshot(self, context, volume, snapshot):
        copy(self._path('snapshot', snapshot), self.local_path(volume))

    def delete_volume(self, volume):
        self._remove(self.local_path(volume), volume)

    def delete_snapshot(self, snapshot):
        self._remove(self._path('snapshot', snapshot), snapshot.volume)

    def _remove(self, path, volume):
        self._detach(path, volume)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # A deletion that is asked for again finds its work done.

    # Exports and connections.

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def create_export_snapshot(self, context, snapshot, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def remove_export_snapshot(self, context, snapshot):
        pass

    def initialize_connection(self, volume, connector, **kwargs):
        return self._connection(self.local_path(volume), volume)

    def initialize_connection_snapshot(self, snapshot, connector, **kwargs):
        return self._connection(self._path('snapshot', snapshot), snapshot.volume)

    def terminate_connection(self, volume, connector, **kwargs):
        path = self.local_path(volume)
        self._detach(path, volume)
        # The stock restore opens the path with 'wb': a plain file was cut to nothing by that, and is
        # only as long as the backup now.
        if os.path.exists(path):
            grow(path, volume['size'])

    def terminate_connection_snapshot(self, snapshot, connector, **kwargs):
        self._detach(self._path('snapshot', snapshot), snapshot.volume)

    def _connection(self, path, volume):
        if self._is_loop(volume):
            known = self._loops(path)
            path = known[0] if known else processutils.execute(
                'losetup', '--find', '--show', path)[0].strip()
        kind = volume.metadata.get('export', 'local')
        return {'driver_volume_type': kind, 'data': {'device_path': path}}

    def _is_loop(self, volume):
        return self.configuration.files_export == 'loop' or 'export' in volume.metadata

    def _loops(self, path):
        out, _ = processutils.execute('losetup', '-n', '-O', 'NAME', '-j', path)
        return out.split()

    def _detach(self, path, volume):
        if self._is_loop(volume):
            for loop in self._loops(path):
                processutils.execute('losetup', '--detach', loop)
