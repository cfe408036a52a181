"""Reads configuration files with the real oslo.config, for test/config/oslo-config.test.ts.

Standard input: {"options": [...], "cases": [[file, ...], ...]}. Standard output: for each case null
where oslo refuses the files, else a list with one entry for each option: {"value": ...} or
{"error": ...}.
"""

import json
import sys

from oslo_config import cfg


def opt(description):
    kinds = {
        'text': cfg.StrOpt, 'boolean': cfg.BoolOpt, 'integer': cfg.IntOpt,
        'bytes': cfg.IntOpt, 'number': cfg.FloatOpt, 'list': cfg.ListOpt,
    }
    kind = cfg.MultiStrOpt if description.get('multi') else kinds[description['format']]
    older = [name.split('.') for name in description.get('deprecatedNames', [])]
    more = {
        'default': description['default'],
        'deprecated_opts': [
            cfg.DeprecatedOpt(name[-1], group=name[0] if len(name) == 2 else None)
            for name in older
        ],
    }
    if 'choices' in description:
        more['choices'] = description['choices']
        more['ignore_case'] = description.get('ignoreCase', False)
    for ours, theirs in (('minimum', 'min'), ('maximum', 'max')):
        if ours in description:
            more[theirs] = description[ours]
    return kind(description['option'], **more)


def read(options, files):
    conf = cfg.ConfigOpts()
    for option in options:
        group = None if option['section'] == 'DEFAULT' else option['section']
        conf.register_opt(opt(option), group=group)
    try:
        conf([], project='test', default_config_files=files, default_config_dirs=[])
    except cfg.Error:
        return None
    return [value(conf, option) for option in options]


def value(conf, option):
    group = conf if option['section'] == 'DEFAULT' else conf[option['section']]
    try:
        return {'value': group[option['option']]}
    except Exception as error:  # oslo has many ways to say no, a RecursionError among them
        return {'error': type(error).__name__}


request = json.load(sys.stdin)
json.dump([read(request['options'], files) for files in request['cases']], sys.stdout)
