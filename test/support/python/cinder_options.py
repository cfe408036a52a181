"""Prints what options the real Cinder and oslo.messaging register, for test/config/names.test.ts.

One JSON list of {"section", "option", "default", "deprecated"}.
"""

import json
import warnings

warnings.simplefilter('ignore')

from cinder import opts as cinder_opts  # noqa: E402
from oslo_messaging import opts as messaging_opts  # noqa: E402


def described(section, option):
    default = option.default
    plain = (str, int, float, bool, list, type(None))
    return {
        'section': section,
        'option': option.dest,
        'default': default if isinstance(default, plain) else str(default),
        'deprecated': [old.name for old in option.deprecated_opts if old.name],
    }


found = []
for listed in (cinder_opts.list_opts(), messaging_opts.list_opts()):
    for group, options in listed:
        section = 'DEFAULT' if group is None else getattr(group, 'name', group)
        found.extend(described(section, option) for option in options)
print(json.dumps(found))
