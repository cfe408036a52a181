"""Decompresses with Python's modules, which are what Cinder restores with.

input: [{"as": "zlib" | "bz2" | "zstd", "base64": ...}, ...]; prints the sha256 of each, in order.
"""
import base64
import bz2
import hashlib
import json
import sys
import zlib

import zstd

DECOMPRESS = {'zlib': zlib.decompress, 'bz2': bz2.decompress, 'zstd': zstd.decompress}

print(json.dumps([
    hashlib.sha256(DECOMPRESS[item['as']](base64.b64decode(item['base64']))).hexdigest()
    for item in json.load(sys.stdin)]))
