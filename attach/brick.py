"""os-brick, as this program uses it: in this process, which is root already, with no helper.

Source: cinder/backup/manager.py, `_connect_device`; cinder/volume/volume_utils.py, `brick_get_connector`.
"""

import re

import os_brick
from os_brick import exception
from os_brick import privileged
from os_brick.initiator import connector
from oslo_concurrency import lockutils  # Its options are read by os_brick.setup.
from oslo_config import cfg

_SECRET = re.compile('password|secret|keyring', re.IGNORECASE)
_TEXT_MAX = 600

# Their mounts go where this program says, not where the connection does.
_MOUNTING = {'nfs', 'glusterfs', 'quobyte', 'scality', 'vzstorage'}


class Unsupported(Exception):
    """os-brick has no connector of that name."""


def set_up(locks, mounts):
    """To be called once, before any other; `locks` is the folder that all users of os-brick share."""
    global _mounts
    _mounts = mounts
    cfg.CONF([], project='cinder-backup-agent-attach', default_config_files=[])
    lockutils.set_defaults(locks)
    os_brick.setup(cfg.CONF)
    privileged.default.set_client_mode(False)


_mounts = None


def properties(my_ip, multipath):
    return connector.get_connector_properties('', my_ip, multipath, False)


def check(asked):
    """Raises Unsupported where os-brick has no connector for it."""
    _connector(asked)


def connect(asked):
    """What os-brick tells of the device; its `path` may be anything."""
    device = _connector(asked).connect_volume(_data(asked))
    path = device.get('path')
    return {**device, 'path': path.decode('utf-8')} if isinstance(path, bytes) else device


def disconnect(asked, device, ignore_errors):
    """By force: nobody else has it by this connector."""
    _connector(asked).disconnect_volume(
        _data(asked), device, force=True, ignore_errors=ignore_errors
    )


def told(error, asked):
    """An error in words, without what is secret in the connection: commands may be part of it."""
    text = ' '.join(str(error).split()) or type(error).__name__
    for secret in sorted(_secrets(asked.get('data', {})), key=len, reverse=True):
        text = text.replace(secret, '***')
    return text[:_TEXT_MAX]


def _secrets(value, is_secret=False):
    if isinstance(value, dict):
        for name, of in value.items():
            yield from _secrets(of, is_secret or _SECRET.search(name) is not None)
    elif isinstance(value, list):
        for of in value:
            yield from _secrets(of, is_secret)
    elif isinstance(value, str) and is_secret and value:
        yield value


def _data(asked):
    # Without this an rbd volume is an object of librbd, which no other process can use. With it the
    # kernel maps it.
    own = {'do_local_attach': True} if asked['type'].lower() == 'rbd' else {}
    return {**asked['data'], **own}


def _connector(asked):
    kind = asked['type']
    own = {'mount_point_base': _mounts} if kind.lower() in _MOUNTING else {}
    conn = {'driver_volume_type': kind, 'data': _data(asked), **own}
    try:
        return connector.InitiatorConnector.factory(
            kind,
            '',
            use_multipath=asked['multipath'],
            device_scan_attempts=asked['tries'],
            conn=conn,
            expect_raw_disk=True,
        )
    except exception.InvalidConnectorProtocol as error:
        raise Unsupported('os-brick knows no %s' % kind) from error
