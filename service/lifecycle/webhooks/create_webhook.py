"""Create a webhook (POST /v1/webhooks)."""

import base64
import secrets

from service.errors import Invalid, StudyNotFound
from service.lifecycle.webhooks.show_webhooks import describe_webhook
from service.store import studies, webhooks
from service.store.store import Store
from service.webhook_sender import SECRET_PREFIX, Refused, WebhookSender
from spezia.contract.problem import FieldProblem
from spezia.contract.webhook import CreatedWebhook, NewWebhook

_SECRET_BYTES = 32
"""Length of a secret; the Standard Webhooks specification asks for 24 to 64 bytes."""


def create_webhook(store: Store, sender: WebhookSender, wanted: NewWebhook) -> CreatedWebhook:
    """Create a webhook that is told what happens from now on; the reply alone shows its secret.

    Raises:
        Invalid: Nothing may be posted to the URL, or there is no such study.
    """
    try:
        sender.check_url(wanted.url)
    except Refused as refused:
        raise Invalid(FieldProblem(field="url", message=str(refused))) from None
    secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    with store.writing() as tx:
        try:
            study_uuid = None if wanted.study is None else studies.lock(tx, wanted.study).uuid
        except StudyNotFound as missing:
            raise Invalid(FieldProblem(field="study", message=str(missing))) from None
        row = webhooks.add(tx, wanted.url, secret, list(wanted.events), study_uuid)
    return CreatedWebhook(**describe_webhook(row).model_dump(), secret=secret)
