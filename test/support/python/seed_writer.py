"""Writes a backup as old releases of Cinder did, into a folder of files.

usage: seed_writer.py VOLUME_FILE OUT_FOLDER --era icehouse|kilo --compression NAME
           --chunk BYTES --volume-id ID --backup-id ID [--time YYYYMMDDHHMMSS] [--zone AZ]
           [--name TEXT] [--description TEXT] [--volume-meta TEXT]

Written from the description of the format, with Python's own zlib and bz2; takes nothing from the
agent and nothing from Cinder. The object `a/b/c` becomes the file OUT_FOLDER/a/b/c. The two eras:

    icehouse  (Grizzly to Juno) `offset` is where a chunk ends; no `parent_id`; no sha256file
    kilo      `offset` is where it starts; `parent_id` is null; there is a sha256file

In both `md5` is that of the stored bytes, chunks that grow by compression are stored compressed all
the same, and the row's `object_count` is one more than there are chunks. Prints what it wrote:
prefix, objects in the order of writing, sha256 of the volume, and the fields of the row.
"""
import argparse
import bz2
import hashlib
import json
import os
import zlib

BLOCK = 32768
COMPRESSORS = {
    'none': None, 'off': None, 'no': None,
    'zlib': zlib.compress, 'gzip': zlib.compress,
    'bz2': bz2.compress, 'bzip2': bz2.compress,
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument('volume')
    parser.add_argument('out')
    parser.add_argument('--era', choices=['icehouse', 'kilo'], required=True)
    parser.add_argument('--compression', choices=sorted(COMPRESSORS), required=True)
    parser.add_argument('--chunk', type=int, required=True)
    parser.add_argument('--volume-id', required=True)
    parser.add_argument('--backup-id', required=True)
    parser.add_argument('--time', default='20140417101112')
    parser.add_argument('--zone', default='nova')
    parser.add_argument('--name')
    parser.add_argument('--description')
    parser.add_argument('--volume-meta')
    return parser.parse_args()


def main(args):
    prefix = 'volume_%s/%s/az_%s_backup_%s' % (
        args.volume_id, args.time, args.zone, args.backup_id)
    written = []

    def put(name, body):
        path = os.path.join(args.out, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'xb') as file:
            file.write(body)
        written.append({'name': name, 'bytes': len(body), 'md5': hashlib.md5(body).hexdigest()})

    def document(fields):
        t = args.time
        common = {
            'version': '1.0.0', 'backup_id': args.backup_id, 'volume_id': args.volume_id,
            'backup_name': args.name, 'backup_description': args.description,
            'created_at': '%s-%s-%s %s:%s:%s' % (t[:4], t[4:6], t[6:8], t[8:10], t[10:12], t[12:]),
        }
        return json.dumps(dict(common, **fields), sort_keys=True, indent=2).encode('utf-8')

    compress = COMPRESSORS[args.compression]
    chunks, digests, end, whole = [], [], 0, hashlib.sha256()
    with open(args.volume, 'rb') as volume:
        while True:
            data = volume.read(args.chunk)
            if not data:
                break
            whole.update(data)
            for start in range(0, len(data), BLOCK):
                digests.append(hashlib.sha256(data[start:start + BLOCK]).hexdigest())
            stored = compress(data) if compress else data
            end += len(data)
            name = '%s-%05d' % (prefix, len(chunks) + 1)
            put(name, stored)
            chunks.append({name: {
                'compression': args.compression if compress else 'none',
                'length': len(data),
                'md5': hashlib.md5(stored).hexdigest(),
                'offset': end if args.era == 'icehouse' else end - len(data),
            }})

    metadata = {'objects': chunks, 'volume_meta': args.volume_meta}
    if args.era == 'kilo':
        metadata['parent_id'] = None
        put(prefix + '_sha256file', document({'chunk_size': BLOCK, 'sha256s': digests}))
    put(prefix + '_metadata', document(metadata))
    return {
        'prefix': prefix, 'objects': written, 'sha256': whole.hexdigest(), 'bytes': end,
        'row': {
            'id': args.backup_id, 'volume_id': args.volume_id, 'status': 'available',
            'service_metadata': prefix, 'object_count': len(chunks) + 1,
            'size': max(1, -(-end // 2 ** 30)),
            'display_name': args.name, 'display_description': args.description,
            'availability_zone': args.zone, 'parent_id': None,
            'service': 'cinder.backup.drivers.swift'
            + ('.SwiftBackupDriver' if args.era == 'kilo' else ''),
        },
    }


print(json.dumps(main(arguments())))
