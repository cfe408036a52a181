"""Holds values against the schemas of a document, for test/system/asyncapi.test.ts.

Reads {"document": ..., "cases": [{"schema": "#/components/schemas/Name", "value": ...}]} and writes
a list with the complaints about each case.
"""

import json
import sys

import jsonschema

given = json.load(sys.stdin)
document = given['document']
for schema in document['components']['schemas'].values():
    jsonschema.Draft7Validator.check_schema(schema)
resolver = jsonschema.RefResolver.from_schema(document)
complaints = []
for case in given['cases']:
    validator = jsonschema.Draft7Validator({'$ref': case['schema']}, resolver=resolver)
    complaints.append([error.message[:500] for error in validator.iter_errors(case['value'])])
json.dump(complaints, sys.stdout)
