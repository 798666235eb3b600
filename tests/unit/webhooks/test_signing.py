"""Signatures as the reference library of Standard Webhooks verifies them."""

import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from fileflux.core.errors import Invalid
from fileflux.webhooks.signing import new_secret, secret_bytes, signature_headers

BODY = b'{"a": 1}'


def signed(*secrets: str, at_s: int | None = None, body: bytes = BODY) -> dict[str, str]:
    now_s = int(time.time()) if at_s is None else at_s
    return signature_headers(secrets, message_id="event-1", timestamp_s=now_s, body=body)


def test_the_reference_library_verifies_what_we_sign() -> None:
    for _ in range(500):
        secret = new_secret()
        assert Webhook(secret).verify(BODY, signed(secret)) == json.loads(BODY)


def test_while_a_secret_is_replaced_receivers_of_both_verify() -> None:
    old, new = new_secret(), new_secret()
    headers = signed(new, old)
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)


def test_an_old_delivery_another_body_and_another_secret_are_refused_by_receivers() -> None:
    secret = new_secret()
    wrong = [
        (BODY, signed(secret, at_s=int(time.time()) - 600)),
        (b'{"a": 2}', signed(secret)),
        (BODY, signed(new_secret())),
        (BODY, {**signed(secret), "webhook-id": "event-2"}),
    ]
    for body, headers in wrong:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_YQ==", "whsec_!!", "c2VjcmV0" * 5])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(Invalid):
        secret_bytes(secret)
