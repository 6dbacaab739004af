"""The command beside a scripted service."""

from tests.spezia_command import service as service
from tests.spezia_command import spezia as spezia
from tests.spezia_command import url as url
