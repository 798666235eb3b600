"""Receive FileFlux's webhooks with Flask: pip install flask standardwebhooks.

WEBHOOK_SECRET=whsec_… python examples/receive_webhook_flask.py 8000
"""

import json
import os
import sys

from flask import Flask, Response, request
from standardwebhooks import Webhook, WebhookVerificationError

app = Flask(__name__)
seen: set[str] = (
    set()
)  # Of a real receiver: a table with a unique key, in the effect's transaction.


@app.post("/")
def receive() -> Response:
    body = request.get_data()  # The exact bytes: a parsed and dumped body has another signature.
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, headers)
    except WebhookVerificationError:
        return Response(status=401)
    if headers["webhook-id"] not in seen:
        seen.add(headers["webhook-id"])
        for record in json.loads(body).get("Records", []):
            print(record["eventName"], record["s3"]["object"]["key"], flush=True)
    return Response(status=204)


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
