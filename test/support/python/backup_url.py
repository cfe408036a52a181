"""Writes and reads the record of an export with Cinder's own code.

input: [{"encode": FIELDS} | {"decode": URL}, ...]; prints for each the URL, or the record that is in
it, or {"error": ...}.
"""
import json
import sys

from cinder import objects

objects.register_all()
Backup = objects.Backup


def encoded(data):
    fields = {
        name: value if value is None else Backup.fields[name].from_primitive(None, name, value)
        for name, value in data.items()}
    return Backup(**fields).encode_record(driver_info={})


def answer(asked):
    try:
        return encoded(asked['encode']) if 'encode' in asked else Backup.decode_record(asked['decode'])
    except Exception as error:  # Whatever it is: the test compares its text.
        return {'error': str(error)}


print(json.dumps([answer(asked) for asked in json.load(sys.stdin)]))
