#!/usr/bin/env python3
"""Publish one command:  publish.py MEMBER enroll|earn|spend|exit [POINTS] [COMMAND_ID]

Needs pika (Debian: python3-pika). The broker is LOYALTY_AMQP_URL, or else that of a running `loyalty dev`.
Prints the command's id; exit code 0 once the broker has it. Ask `loyalty receipt MEMBER COMMAND_ID` what became of
it. Whenever this fails, call it again with the same id: the command changes the balance once.
"""
import datetime, json, os, pathlib, signal, sys, uuid, zlib
import pika

def partition(member):
    return "%02d" % (zlib.crc32(member.encode()) % 16)

vectors = pathlib.Path(__file__).parents[2] / "docs/partition-vectors.json"
for vector in json.loads(vectors.read_text()):
    assert partition(vector["member_id"]) == vector["routing_key"], vector

member, kind, *more = sys.argv[1:] if len(sys.argv) > 2 else sys.exit(__doc__)
command = {"v": 1, "member_id": member, "type": kind, "occurred_at": datetime.datetime.now(datetime.timezone.utc).isoformat()}
if kind in ("earn", "spend"):
    command["points"] = int(more.pop(0))
command["command_id"] = more.pop() if more else str(uuid.uuid4())
print(command["command_id"], flush=True)

signal.signal(signal.SIGALRM, lambda *_: sys.exit("not confirmed in 30 seconds: repeat it under the same id"))
signal.alarm(30)  # A blocked broker, or one without a majority of its nodes, answers nothing at all.
url = os.environ.get("LOYALTY_AMQP_URL") or json.load(open(".loyalty/dev.json"))["amqp_url"]
with pika.BlockingConnection(pika.URLParameters(url)) as connection:
    channel = connection.channel()
    channel.confirm_delivery()  # From here on, basic_publish returns when the broker has the message on disk.
    properties = pika.BasicProperties(delivery_mode=2, content_type="application/json", type="loyalty.command.v1",
                                      message_id=command["command_id"], app_id="examples/python")
    try:
        channel.basic_publish("loyalty.commands", partition(member), json.dumps(command), properties, mandatory=True)
    except pika.exceptions.NackError:
        sys.exit("the queue is full: repeat it later under the same id")
    except pika.exceptions.UnroutableError:
        sys.exit("no queue takes it: has `loyalty topology` been run?")
