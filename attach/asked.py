"""What may be asked: three requests, each one line of JSON, and every field of them checked.

Whoever asks is the agent, which reads messages of others: nothing of a request is believed. It names
no program, no root helper and no folder; what os-brick does with a connection is os-brick's business.
"""

import ipaddress
import json
import re

LINE_MAX = 256 * 1024
TRIES_MAX = 1000

_ID = re.compile(r'(volume|snapshot)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_TYPE = re.compile(r'[A-Za-z0-9_]{1,40}')

# Text that is handed over as the value of an option, or is options: it may begin with a dash.
_FREE_TEXT = {'options', 'auth_password', 'discovery_auth_password', 'keyring', 'secret_key'}


class Refused(Exception):
    """The request is none of ours."""


def parse(line):
    """The request in a line, as a dictionary with all of its fields, and no other."""
    try:
        asked = json.loads(
            line.decode('utf-8'), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise Refused('the request is not JSON: %s' % error) from error
    if not isinstance(asked, dict):
        raise Refused('the request is not an object')
    method = asked.get('method')
    fields = _FIELDS.get(method) if isinstance(method, str) else None
    if fields is None:
        raise Refused('no such request: %.40r' % (method,))
    if set(asked) != {'method', *fields}:
        raise Refused('%s has the fields %s' % (method, ', '.join(fields)))
    for name, is_good in fields.items():
        if not is_good(asked[name]):
            raise Refused('%s of %s is not what it must be' % (name, method))
    return asked


def _once(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError('a name comes twice')
    return found


def _no_constant(name):
    raise ValueError('%s is no JSON' % name)


def _is_flag(value):
    return isinstance(value, bool)


def _is_id(value):
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_type(value):
    return isinstance(value, str) and _TYPE.fullmatch(value) is not None


def _is_tries(value):
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= TRIES_MAX


def _is_address(value):
    """An address or the name of a host, as `my_ip` may be."""
    if not isinstance(value, str) or len(value) > 255:
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return re.fullmatch(r'[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?', value) is not None
    return True


def _is_data(value):
    return isinstance(value, dict) and all(_is_safe(name, of) for name, of in value.items())


def _is_safe(name, value):
    """No text that a program could take for an option, or that a path could end in early."""
    if isinstance(value, dict):
        return all(_is_safe(inner, of) for inner, of in value.items())
    if isinstance(value, list):
        return all(_is_safe(name, of) for of in value)
    if not isinstance(value, str):
        return True
    if any(ord(character) < 32 for character in value):
        return name == 'keyring' and '\0' not in value
    return not value.startswith('-') or name in _FREE_TEXT


_FIELDS = {
    'properties': {'my_ip': _is_address, 'multipath': _is_flag},
    'connect': {
        'id': _is_id,
        'type': _is_type,
        'data': _is_data,
        'multipath': _is_flag,
        'tries': _is_tries,
        'access': lambda value: value in ('read', 'write'),
    },
    'disconnect': {'id': _is_id, 'ignore_errors': _is_flag},
}
