"""Loop devices: how a file on a share that is mounted here becomes a device that the agent can open."""

import os
import subprocess

_LOSETUP = '/usr/sbin/losetup'
_SECONDS = 60
_SECTOR = 512


class NotWhole(Exception):
    """A device has whole sectors: the last bytes of the file would be missing."""


def attach(file, access):
    """The path of a loop device in front of a file."""
    size = os.stat(file).st_size
    if size % _SECTOR:
        raise NotWhole('%s has %d bytes, which are no whole sectors' % (file, size))
    read_only = ['--read-only'] if access == 'read' else []
    return _run('--find', '--show', *read_only, file)


def detach(loop):
    """Nothing where it is gone already."""
    if os.path.exists('/sys/block/%s/loop' % os.path.basename(loop)):
        _run('--detach', loop)


def _run(*words):
    ended = subprocess.run(
        [_LOSETUP, *words], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if ended.returncode != 0:
        raise OSError('losetup %s: %s' % (' '.join(words), ended.stderr.strip()))
    return ended.stdout.strip()
