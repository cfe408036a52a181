"""Who has a connection: a process, known by its number and by when it began."""

import os


def start_of(pid):
    """When a process began, in ticks since the boot; None where there is none. Source: proc(5)."""
    try:
        with open('/proc/%d/stat' % pid, encoding='ascii', errors='replace') as file:
            fields = file.read().rpartition(')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    is_over = fields[0] in 'ZX'
    return None if is_over else int(fields[19])


def holder(pid):
    """Raises ProcessLookupError where it is gone, or of another name space, whose numbers say nothing here."""
    began = start_of(pid) if pid > 0 else None
    if began is None:
        raise ProcessLookupError('whoever asked cannot be seen from here')
    return [pid, began]


def is_alive(held_by):
    pid, began = held_by
    return start_of(pid) == began


def watch(held_by):
    """A descriptor that can be read once the process is gone; None where it is gone already."""
    try:
        descriptor = os.pidfd_open(held_by[0])
    except ProcessLookupError:
        return None
    if is_alive(held_by):
        return descriptor
    os.close(descriptor)
    return None
