"""Reads configuration files with the real oslo.config, for test/config/oslo-config.test.ts.

The options are those that the real Cinder, oslo.messaging, oslo.log, oslo.db and keystoneauth declare;
ours stand in only where none of them knows the option. One JSON value a line. First comes our list of
options, answered by a list of what is known of each: {"isReal", "deprecated", "minimum", "maximum",
"isCli"}. Then each line has the arguments of a command, answered by {"refused": class of the error} or
{"values": [{"value": ...} or {"error": class}, ...]} in the order of our options.
"""

import copy
import json
import math
import os
import sys
import warnings

warnings.simplefilter('ignore')

from cinder import opts as cinder_opts  # noqa: E402
from cinder.common import config as cinder_config  # noqa: E402
from keystoneauth1 import loading  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_db import options as db_options  # noqa: E402
from oslo_log import log  # noqa: E402
from oslo_messaging import opts as messaging_opts  # noqa: E402

# The environment of whoever runs the tests is no part of what is compared.
for variable in [name for name in os.environ if name.startswith('OS_')]:
    del os.environ[variable]


def login_options():
    return [
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_auth_plugin_conf_options('password'),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]


def real_options():
    yield 'database', db_options.database_opts
    for group in ('service_user', 'keystone_authtoken'):
        yield group, login_options()
    for listed in (cinder_opts.list_opts(), messaging_opts.list_opts()):
        for group, options in listed:
            yield 'DEFAULT' if group is None else getattr(group, 'name', group), options


def made(description):
    kinds = {
        'text': cfg.StrOpt, 'boolean': cfg.BoolOpt, 'integer': cfg.IntOpt,
        'bytes': cfg.IntOpt, 'number': cfg.FloatOpt, 'list': cfg.ListOpt, 'uri': cfg.URIOpt,
    }
    more = {'default': description['default']}
    more['deprecated_opts'] = [
        cfg.DeprecatedOpt(parts[-1], group=parts[0] if len(parts) == 2 else None)
        for parts in (name.split('.') for name in description.get('deprecatedNames', []))
    ]
    if 'choices' in description:
        more['choices'] = description['choices']
        more['ignore_case'] = description.get('ignoreCase', False)
    for ours, theirs in (('minimum', 'min'), ('maximum', 'max')):
        if ours in description:
            more[theirs] = description[ours]
    return kinds[description['format']](description['option'], **more)


def register(conf, section, option):
    """Registers the first of its name; what is required is so only where its plugin is loaded."""
    option = copy.copy(option)
    option.required = False
    try:
        conf.register_opt(option, group=None if section == 'DEFAULT' else section)
    except cfg.DuplicateOptError:
        pass


def group_of(conf, section):
    return conf if section == 'DEFAULT' else conf[section]


def found(conf, description):
    section, name = description['section'], description['option']
    group = None if section == 'DEFAULT' else section
    try:
        return conf._get_opt_info(name, group)['opt']
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
        return None


def known(conf, described):
    answers = []
    for description in described:
        option = found(conf, description)
        is_real = option is not None and option.dest == description['option']
        if not is_real:
            option = made(description)
            register(conf, description['section'], option)
        if 'ownDefault' in description:
            option.default = description['ownDefault']
        names = [(old.group or description['section'], old.name or option.dest)
                 for old in option.deprecated_opts if old.name or old.group]
        answers.append({
            'isReal': is_real,
            'deprecated': ['.'.join(name) for name in names],
            'minimum': getattr(option.type, 'min', None),
            'maximum': getattr(option.type, 'max', None),
            'isCli': any(cli.dest == option.dest and group is None
                         for cli, group in conf._all_cli_opts()),
        })
    return answers


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, list, type(None))) else str(value)


def value(conf, description):
    try:
        return {'value': plain(group_of(conf, description['section'])[description['option']])}
    except Exception as error:  # oslo has many ways to say no, a RecursionError among them
        return {'error': type(error).__name__}


def read(conf, described, args):
    try:
        conf(args, project='cinder', default_config_files=[], default_config_dirs=[])
    except (Exception, SystemExit) as error:
        return {'refused': type(error).__name__}
    return {'values': [value(conf, description) for description in described]}


def main():
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf.register_cli_opts(cinder_config.core_opts)
    for section, options in real_options():
        for option in options:
            register(conf, section, option)
    described = json.loads(sys.stdin.readline())
    print(json.dumps(known(conf, described)), flush=True)
    for line in sys.stdin:
        print(json.dumps(read(conf, described, json.loads(line))), flush=True)


main()
