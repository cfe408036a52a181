"""Makes the projects, users, roles and endpoints of the tests, through Keystone's own API.

Reads NAME=value lines (see `services vars`) on standard input. May be run again.
"""
import json
import sys
import urllib.error
import urllib.request

VARS = dict(line.rstrip('\n').split('=', 1) for line in sys.stdin)
HEADERS = {'Content-Type': 'application/json'}


def call(method, path, body=None):
    request = urllib.request.Request(
        VARS['KEYSTONE_URL'] + path, method=method, headers=HEADERS,
        data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
        return (json.loads(text) if text else None), answer.headers


def login():
    HEADERS['X-Auth-Token'] = call('POST', '/auth/tokens', {'auth': {
        'identity': {'methods': ['password'], 'password': {'user': {
            'name': 'admin', 'domain': {'id': 'default'},
            'password': VARS['KEYSTONE_ADMIN_PASSWORD']}}},
        'scope': {'project': {'name': 'admin', 'domain': {'id': 'default'}}},
    }})[1]['X-Subject-Token']


def ensure(kind, name, **attributes):
    found = call('GET', '/%ss?name=%s' % (kind, name))[0][kind + 's']
    if not found:
        return call('POST', '/%ss' % kind, {kind: dict(attributes, name=name)})[0][kind]['id']
    return found[0]['id']


def endpoints(service, url):
    known = call('GET', '/endpoints?service_id=' + service)[0]['endpoints']
    known = {endpoint['interface']: endpoint for endpoint in known}
    for interface in ('public', 'internal', 'admin'):
        if interface not in known:
            call('POST', '/endpoints', {'endpoint': {
                'service_id': service, 'region_id': 'RegionOne', 'interface': interface,
                'url': url}})
        elif known[interface]['url'] != url:
            call('PATCH', '/endpoints/' + known[interface]['id'], {'endpoint': {'url': url}})


def grant(project_id, user_id, role_id):
    call('PUT', '/projects/%s/users/%s/roles/%s' % (project_id, user_id, role_id))


def main():
    login()
    if not call('GET', '/regions')[0]['regions']:
        call('POST', '/regions', {'region': {'id': 'RegionOne'}})
    endpoints(ensure('service', 'keystone', type='identity'), VARS['KEYSTONE_URL'])
    endpoints(ensure('service', 'swift', type='object-store'),
              VARS['SWIFT_URL'] + '/v1/AUTH_%(project_id)s')
    endpoints(ensure('service', 'cinderv3', type='volumev3'),
              VARS['CINDER_URL'] + '/%(project_id)s')

    roles = {name: ensure('role', name) for name in ('admin', 'member', 'service')}
    user, service = VARS['KEYSTONE_USER_PASSWORD'], VARS['KEYSTONE_SERVICE_PASSWORD']
    for name, project, password, granted in (
            ('demo', 'demo', user, ['member']),
            ('other', 'other', user, ['member']),
            ('backup', 'backup', user, ['member']),
            ('cinder', 'service', service, ['admin', 'service']),
            ('swift', 'service', service, ['admin', 'service'])):
        project_id = ensure('project', project, domain_id='default')
        user_id = ensure('user', name, domain_id='default', password=password)
        for role in granted:
            grant(project_id, user_id, roles[role])
        # Who exports and imports records of a project must be an administrator in it.
        if name in ('demo', 'other'):
            grant(project_id, ensure('user', 'admin'), roles['admin'])


try:
    main()
except urllib.error.HTTPError as error:
    sys.exit('keystone: %s answered %s: %s' % (error.url, error.code, error.read().decode()))
