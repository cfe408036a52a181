"""A real oslo.messaging client, a server, or a listener for notifications.

usage: oslo_peer.py client|serve|listen OPTIONS

OPTIONS is a JSON object: transport_url, exchange, conf (names and values of
[oslo_messaging_rabbit]), and
    client  topic
    serve   topic, server
    listen  topics (default ["notifications"]), pool

`client` reads one request a line and prints one answer a line, in the order in which they come:
    {"id", "verb": "cast"|"call", "method", "args", "context", "server", "fanout", "version",
     "namespace", "timeout", "call_monitor_timeout", "topic", "exchange"}
    {"id", "result"} or {"id", "failure": {"class", "module", "bases", "message"}}
An argument {"$object": NAME, "data": {...}} is sent as that object of Cinder (Backup, Volume, ...),
by Cinder's own serializer.
`serve` prints one line for each request: method, args, context. Whatever is asked is answered by
    fail    raises cinder.exception.InvalidBackup, or with `builtin` a ValueError
    slow    sleeps for `seconds`, then answers with them
    others  what came, arguments and context
`listen` prints one line for each notification: priority, publisher_id, event_type, payload,
message_id, timestamp, context.
All print "ready" first, and end when standard input does.
"""
import concurrent.futures
import json
import sys
import tempfile
import threading
import time

from oslo_config import cfg
import oslo_messaging

lock = threading.Lock()


def say(what):
    with lock:
        sys.stdout.write(json.dumps(what, default=str) + '\n')
        sys.stdout.flush()


def configuration(options):
    """Read from a file, as a service reads its own."""
    if options.get('exchange'):
        oslo_messaging.set_transport_defaults(options['exchange'])
    conf = cfg.CONF  # Parts of oslo.messaging know no other.
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
        file.write('[oslo_messaging_rabbit]\n')
        for name, value in options.get('conf', {}).items():
            file.write('%s = %s\n' % (name, value))
        file.flush()
        conf(['--config-file', file.name], project='peer')
    return conf


class PlainContext(oslo_messaging.NoOpSerializer):
    """Contexts are dictionaries here; entities may be objects of Cinder."""

    def __init__(self):
        super().__init__()
        from cinder import objects
        from cinder.objects import base
        objects.register_all()
        self.objects, self.cinder = objects, base.CinderObjectSerializer()

    def serialize_entity(self, context, entity):
        if not (isinstance(entity, dict) and '$object' in entity):
            return entity
        return self.cinder.serialize_entity(context, self.made(entity))

    def made(self, entity):
        known = getattr(self.objects, entity['$object'])
        fields = {}
        for name, value in entity['data'].items():
            if isinstance(value, dict) and '$object' in value:
                value = self.made(value)
            elif name in known.fields and value is not None:
                value = known.fields[name].from_primitive(None, name, value)
            fields[name] = value
        return known(**fields)


def client(options):
    serializer = PlainContext()  # Cinder wants to be there before the configuration is read.
    conf = configuration(options)
    transport = oslo_messaging.get_rpc_transport(
        conf, options['transport_url'], allowed_remote_exmods=['cinder.exception'])

    def serve(line):
        request = json.loads(line)
        try:
            say({'id': request['id'], 'result': perform(request)})
        except Exception as error:
            kind = type(error)
            say({'id': request['id'], 'failure': {
                'class': kind.__name__, 'module': kind.__module__, 'message': str(error),
                'bases': [base.__name__ for base in kind.__mro__]}})

    def perform(request):
        optional = {name: request[name] for name in
                    ('server', 'fanout', 'version', 'namespace') if request.get(name) is not None}
        target = oslo_messaging.Target(
            topic=request.get('topic') or options['topic'],
            exchange=request.get('exchange') or options.get('exchange'), **optional)
        caller = oslo_messaging.RPCClient(
            transport, target, serializer=serializer, timeout=request.get('timeout', 30),
            call_monitor_timeout=request.get('call_monitor_timeout'))
        send = caller.call if request['verb'] == 'call' else caller.cast
        return send(request.get('context', {}), request['method'], **request.get('args', {}))

    say('ready')
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        for line in sys.stdin:
            pool.submit(serve, line)
    transport.cleanup()


class Service:
    target = oslo_messaging.Target(version='2.4')

    def __getattr__(self, method):
        if method.startswith('_'):
            raise AttributeError(method)

        def answer(context, **args):
            say({'method': method, 'args': args, 'context': context})
            return {'args': args, 'context': context}
        return answer

    def fail(self, context, reason, builtin=False):
        from cinder import exception
        raise ValueError(reason) if builtin else exception.InvalidBackup(reason=reason)

    def slow(self, context, seconds):
        say({'method': 'slow', 'args': {'seconds': seconds}, 'context': context})
        time.sleep(seconds)
        return seconds


def serve(options):
    conf = configuration(options)
    transport = oslo_messaging.get_rpc_transport(
        conf, options['transport_url'], allowed_remote_exmods=['cinder.exception'])
    target = oslo_messaging.Target(
        topic=options['topic'], server=options['server'], exchange=options.get('exchange'))
    server = oslo_messaging.get_rpc_server(transport, target, [Service()], executor='threading')
    server.start()
    say('ready')
    sys.stdin.read()
    server.stop()
    server.wait()


class Endpoint:
    def __getattr__(self, priority):
        if priority not in ('audit', 'debug', 'info', 'warn', 'error', 'critical', 'sample'):
            raise AttributeError(priority)

        def show(context, publisher_id, event_type, payload, metadata):
            say({'priority': priority, 'publisher_id': publisher_id, 'event_type': event_type,
                 'payload': payload, 'message_id': metadata['message_id'],
                 'timestamp': metadata['timestamp'], 'context': context})
        return show


def listen(options):
    conf = configuration(options)
    transport = oslo_messaging.get_notification_transport(conf, options['transport_url'])
    targets = [oslo_messaging.Target(topic=topic, exchange=options.get('exchange'))
               for topic in options.get('topics', ['notifications'])]
    listener = oslo_messaging.get_notification_listener(
        transport, targets, [Endpoint()], executor='threading', pool=options.get('pool'))
    listener.start()
    say('ready')
    sys.stdin.read()
    listener.stop()
    listener.wait()


{'client': client, 'serve': serve, 'listen': listen}[sys.argv[1]](json.loads(sys.argv[2]))
