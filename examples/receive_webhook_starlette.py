"""Receive FileFlux's webhooks with Starlette (FastAPI alike): pip install starlette uvicorn
standardwebhooks.

    WEBHOOK_SECRET=whsec_… python examples/receive_webhook_starlette.py 8000
"""

import json
import os
import sys

import uvicorn
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

seen: set[str] = (
    set()
)  # Of a real receiver: a table with a unique key, in the effect's transaction.


async def receive(request: Request) -> Response:
    body = await request.body()  # The exact bytes: a parsed and dumped body has another signature.
    try:
        Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, dict(request.headers))
    except WebhookVerificationError:
        return Response(status_code=401)
    name = request.headers["webhook-id"]
    if name not in seen:
        seen.add(name)
        for record in json.loads(body).get("Records", []):
            print(record["eventName"], record["s3"]["object"]["key"], flush=True)
    return Response(status_code=204)


app = Starlette(routes=[Route("/", receive, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
