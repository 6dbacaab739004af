"""Specs and facts that this process has read: every call of a worker reads its study, and these hardly ever change."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec

MAX_CHARACTERS = 8 * 2**20
"""Length of all JSON texts together whose contents are kept, those used last: of 4,000 studies or so."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a study is about, as read."""

    study_id: int
    uuid: str
    version: str
    """Drawn anew with each change of the study's spec or facts, so that it never stands for other ones."""
    spec: StudySpec
    facts: Facts | None
    n_characters: int
    """Length of the texts that these were read from."""


class StudyCache:
    """The last known definition of each study, as far as memory reaches; shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_uuid: OrderedDict[str, Definition] = OrderedDict()
        self._uuids: dict[int, str] = {}
        self._n_characters = 0

    def get(self, study: int | str) -> Definition | None:
        """Return the definition of a study by Optuna's id or by its UUID; ``None`` if it is not known here."""
        with self._lock:
            uuid = self._uuids.get(study) if isinstance(study, int) else study
            if uuid is None or uuid not in self._by_uuid:
                return None
            self._by_uuid.move_to_end(uuid)
            return self._by_uuid[uuid]

    def put(self, definition: Definition) -> None:
        """Keep the definition of a study in place of an earlier one."""
        with self._lock:
            self._drop(definition.uuid)
            self._by_uuid[definition.uuid] = definition
            self._uuids[definition.study_id] = definition.uuid
            self._n_characters += definition.n_characters
            while self._n_characters > MAX_CHARACTERS and len(self._by_uuid) > 1:
                self._drop(next(iter(self._by_uuid)))

    def _drop(self, uuid: str) -> None:
        dropped = self._by_uuid.pop(uuid, None)
        if dropped is not None:
            del self._uuids[dropped.study_id]
            self._n_characters -= dropped.n_characters
