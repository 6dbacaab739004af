"""An S3-compatible store for the tests, in this process: moto's server.

All servers of a process share what is stored, so each test has a prefix of its own.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spezia.common.lazy_module import LazyModule

boto3 = LazyModule("boto3")
moto_server = LazyModule("moto.moto_server.threaded_moto_server")
"""Loaded with the first store: they take a second, and only slow tests start one."""

BUCKET = "files"
SECRET = "a-secret-that-nobody-else-says"


@dataclass(frozen=True)
class S3:
    """A store that runs, with one bucket, which is called `BUCKET`."""

    environment: Mapping[str, str]
    """What a program has to have in its environment to use it."""

    def object_keys(self) -> list[str]:
        """The keys of all objects in the bucket."""
        client = _client(self.environment["AWS_ENDPOINT_URL_S3"])
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        client.close()
        return keys


@contextmanager
def s3() -> Iterator[S3]:
    """Start a store."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        client = _client(environment["AWS_ENDPOINT_URL_S3"])
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield S3(environment)
    finally:
        server.stop()


def _client(url: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key=SECRET, region_name="us-east-1"
    )
