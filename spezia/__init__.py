"""Spezia for Python: describe a study and have a service search its hyperparameters.

>>> from spezia import Client, Float, StudySpec

Importing this loads pydantic and httpx2 and nothing of the service, the trainer or the command line.
"""

from spezia.client import Client, ClientError, SpeziaError, StudyHandle, Unreachable
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.confirm import Confirm
from spezia.contract.data import Data
from spezia.contract.objectives import Constraint, Objective
from spezia.contract.start_small import StartSmall
from spezia.contract.study import Study
from spezia.contract.study_spec import Model, StudyChange, StudySpec, Training
from spezia.contract.trial import Trial, TrialDetail
from spezia.ranges import Categorical, Float, Int
from spezia.script import TrialPruned

__all__ = [
    "BestTrial",
    "Categorical",
    "Client",
    "ClientError",
    "Confirm",
    "Constraint",
    "Data",
    "Float",
    "Int",
    "Model",
    "Objective",
    "ParetoFront",
    "SpeziaError",
    "StartSmall",
    "Study",
    "StudyChange",
    "StudyHandle",
    "StudySpec",
    "Training",
    "Trial",
    "TrialDetail",
    "TrialPruned",
    "Unreachable",
]
