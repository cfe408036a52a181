"""Makes the volume of a benchmark, the same bytes for the same seed on the same machine.

usage: make_data.py KIND FILE [--mib N] [--seed N] [--base FILE] [--percent N] [--data-mib N]

    mixed    as a virtual machine's disk: files of /usr laid out at 4 KiB as a file system would (60 %),
             noise (10 %), runs of 1 to 16 MiB of zeros, left as holes (30 %)
    random   noise
    zero     a hole
    mutate   --base with --percent of its 32 KiB blocks changed, in runs of 1 to 16 blocks; --base may
             be FILE itself
    sparse   a hole with --data-mib of the mixed kind in 64 pieces, evenly spread
"""
import argparse
import os
import random
import shutil

MIB = 1 << 20
BLOCK = 32768
PAGE = 4096
SOURCES = ('/usr/bin', '/usr/lib', '/usr/share')
SOURCE_BYTES_MAX = 64 * MIB
SPARSE_PIECES = 64


def source_files(rng):
    """Files of the system in the seed's order, again and again."""
    found = []
    for source in SOURCES:
        for folder, names, files in os.walk(source):
            names.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    if 0 < os.path.getsize(path) <= SOURCE_BYTES_MAX:
                        found.append(path)
    rng.shuffle(found)
    while True:
        yield from found


def write_mixed(out, start, end, rng, files):
    position = start
    while position < end:
        kind = rng.random()
        run = min(rng.randint(1, 16) * MIB, end - position)
        if kind < 0.40:
            if kind >= 0.30:
                out.seek(position)
                out.write(rng.randbytes(run))
            position += run
            continue
        run_end = position + run
        while position < run_end:
            with open(next(files), 'rb') as source:
                data = source.read()[:end - position]
            out.seek(position)
            out.write(data)
            position = min(end, (position + len(data) + PAGE - 1) // PAGE * PAGE)


def write_random(out, size, rng):
    for _ in range(size // MIB):
        out.write(rng.randbytes(MIB))


def write_sparse(out, size, data_size, rng):
    files = source_files(rng)
    piece = data_size // SPARSE_PIECES // PAGE * PAGE
    for index in range(SPARSE_PIECES):
        start = size // SPARSE_PIECES * index // PAGE * PAGE
        write_mixed(out, start, start + piece, rng, files)


def mutate(out, size, percent, rng):
    blocks = size // BLOCK
    wanted = int(blocks * percent / 100)
    changed = set()
    while len(changed) < wanted:
        first = rng.randrange(blocks)
        for block in range(first, first + rng.randint(1, 16)):
            if block >= blocks or block in changed or len(changed) >= wanted:
                break
            out.seek(block * BLOCK)
            out.write(rng.randbytes(PAGE))
            changed.add(block)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('kind', choices=['mixed', 'random', 'zero', 'mutate', 'sparse'])
    parser.add_argument('file')
    parser.add_argument('--mib', type=int, default=1024)
    parser.add_argument('--seed', type=int, default=20240229)
    parser.add_argument('--base')
    parser.add_argument('--percent', type=float, default=5.0)
    parser.add_argument('--data-mib', type=int, default=3072)
    options = parser.parse_args()
    rng = random.Random(options.seed)

    size = options.mib * MIB
    if options.kind == 'mutate':
        size = os.path.getsize(options.base)
        if options.base != options.file:
            shutil.copyfile(options.base, options.file)
    with open(options.file, 'r+b' if options.kind == 'mutate' else 'wb') as out:
        out.truncate(size)
        if options.kind == 'mixed':
            write_mixed(out, 0, size, rng, source_files(rng))
        elif options.kind == 'random':
            write_random(out, size, rng)
        elif options.kind == 'mutate':
            mutate(out, size, options.percent, rng)
        elif options.kind == 'sparse':
            write_sparse(out, size, options.data_mib * MIB, rng)
        out.flush()
        os.fsync(out.fileno())


main()
