"""What a release promises of the public channels besides payloads: addresses, headers, keys. Pure.

Consumers name topics in their configuration and read numbers from headers, so these may change as
little as what is in a record (ADR 0013).
"""

from fileflux.console.asyncapi import Json, asyncapi


def channel_promises() -> Json:
    """Return {address, partitions?, messages} of each public channel, by its name in the document.

    Of each message: its contentType, the JSON Schema of its headers, and what its key is in Kafka.
    """
    document = asyncapi()
    return {
        name: _channel(document, channel)
        for name, channel in document["channels"].items()
        if "x-internal" not in channel
    }


def _channel(document: Json, channel: Json) -> Json:
    kafka: Json = channel.get("bindings", {}).get("kafka", {})
    partitions = {"partitions": kafka["partitions"]} if "partitions" in kafka else {}
    made = {
        name: _message(document["components"]["messages"][name]) for name in channel["messages"]
    }
    return {"address": channel["address"], **partitions, "messages": made}


def _message(message: Json) -> Json:
    headers = {"headers": message["headers"]} if "headers" in message else {}
    kafka = message.get("bindings", {}).get("kafka", {})
    key = {"key": kafka["key"]} if "key" in kafka else {}
    return {"contentType": message["contentType"], **headers, **key}
