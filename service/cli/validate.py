"""The check of `spezia validate` where no service runs: what `POST /v1/studies:validate` does, in this process."""

from service.errors import Invalid
from service.lifecycle.studies.validate_study import validate_study
from spezia.cli.study_file import StudyFileError
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import Validation


def validate(spec: StudySpec) -> Validation:
    """Describe the study that a spec would be.

    Raises:
        StudyFileError: A service would refuse the spec; one line for each field.
    """
    try:
        return validate_study(spec)
    except Invalid as refused:
        raise StudyFileError("\n".join(f"{one.field}: {one.message}" for one in refused.errors)) from None
