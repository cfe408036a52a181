"""Runs a program under the system call filter of a unit, as systemd would set it up.

Usage: system_call_filter.py UNIT PROGRAM ARGUMENT...

Reads SystemCallFilter= (sets, and sets that are taken away again) and RestrictAddressFamilies= from
the unit; systemd-analyze says what is in a set. Whatever is not allowed fails with EPERM. With
MemoryDenyWriteExecute= no memory becomes code.
"""

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys

import seccomp

unit, *command = sys.argv[1:]
with open(unit, encoding='utf-8') as file:
    text = file.read()


def members(name):
    """The system calls of a set, those of the sets in it included."""
    if not name.startswith('@'):
        return {name}
    said = subprocess.run(
        ['systemd-analyze', 'syscall-filter', name], capture_output=True, text=True, check=True
    ).stdout
    words = [line.split()[0] for line in said.splitlines() if line.startswith('    ')]
    found = set()
    for word in words:
        if not word.startswith('#'):
            found |= members(word)
    return found


# Source: systemd.exec(5): these are always there, to start a program and end it.
allowed = members('@default') | {'execve'}
for line in re.findall(r'^SystemCallFilter=(.+)$', text, re.MULTILINE):
    is_denied = line.startswith('~')
    for word in line.lstrip('~').split():
        allowed = allowed - members(word) if is_denied else allowed | members(word)

families = re.search(r'^RestrictAddressFamilies=(.+)$', text, re.MULTILINE).group(1).split()
cage = seccomp.SyscallFilter(defaction=seccomp.ERRNO(errno.EPERM))
for name in sorted(allowed - {'socket'}):
    try:
        cage.add_rule(seccomp.ALLOW, name)
    except (RuntimeError, ValueError):
        pass  # Not a call of this machine's architecture.
for family in families:
    cage.add_rule(
        seccomp.ALLOW, 'socket', seccomp.Arg(0, seccomp.EQ, int(getattr(socket, family)))
    )
cage.load()
if re.search(r'^MemoryDenyWriteExecute=yes$', text, re.MULTILINE):
    set_mdwe, refuse_exec_gain = 65, 1  # Source: linux/prctl.h, Linux 6.3; older ones know no such thing.
    ctypes.CDLL(None).prctl(set_mdwe, refuse_exec_gain, 0, 0, 0)
os.execv(command[0], command)
