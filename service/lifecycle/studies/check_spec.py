"""What a spec must pass beyond the contract, before a study is created or validated."""

from service.errors import Invalid
from service.search.presets.fill_preset import fill_preset
from service.search.requirements import missing_requirement, refused_options
from spezia.contract.problem import FieldProblem
from spezia.contract.space_rules import large_number_errors
from spezia.contract.study_spec import StudySpec, whole_space_errors


def check_spec(spec: StudySpec) -> StudySpec:
    """Check a spec and return it as it is stored, with its preset filled in.

    Raises:
        Invalid: The preset is none for this study, what it brings does not go with the rest, or this service lacks
            something for the study; each with its field.
    """
    filled = fill_preset(spec)
    # without a preset the contract has checked the whole space
    errors = [] if spec.preset is None else whole_space_errors(filled)
    errors += large_number_errors(filled.fixed, filled.search_space)
    problems = [
        FieldProblem(field=".".join(map(str, path)), message=message, value=value) for path, message, value in errors
    ]
    if not problems:
        missing = missing_requirement(filled)
        refused = ("sampler.name", missing) if missing else refused_options(filled)
        problems = [FieldProblem(field=refused[0], message=refused[1])] if refused else []
    if problems:
        raise Invalid(*problems)
    return filled
