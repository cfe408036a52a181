"""Runs one Swift server in the foreground, with swift.conf and the rings beside its own file.

usage: run_swift.py proxy|account|container|object CONF
"""
import os
import runpy
import sys

from swift.common import utils

kind, conf = sys.argv[1:]
utils.set_swift_dir(os.path.dirname(os.path.abspath(conf)))
script = '/usr/bin/swift-%s-server' % kind
sys.argv = [script, conf, '-v']
runpy.run_path(script, run_name='__main__')
