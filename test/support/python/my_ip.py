"""Prints what $my_ip is to Cinder where nobody sets it, for test/config/machine.test.ts."""

import json

from oslo_utils import netutils

print(json.dumps(netutils.get_my_ipv4()))
