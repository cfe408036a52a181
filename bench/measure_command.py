"""Runs a command and prints what it cost, as one JSON object on standard error's last line.

usage: measure_command.py COMMAND...     its standard output goes where ours goes
"""
import json
import resource
import subprocess
import sys
import time

began = time.monotonic()
code = subprocess.run(sys.argv[1:], stderr=subprocess.PIPE)
wall = time.monotonic() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
if code.returncode:
    sys.stderr.buffer.write(code.stderr)
    sys.exit(code.returncode)
print(json.dumps({
    'wallSeconds': wall, 'cpuSeconds': used.ru_utime + used.ru_stime, 'peakMib': used.ru_maxrss / 1024,
}), file=sys.stderr)
