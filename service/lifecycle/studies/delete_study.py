"""Delete a study with its trials and files (DELETE /v1/studies/{name})."""

from service.failpoints import failpoint
from service.files.files import Files
from service.lifecycle.model_folders import remove_folders
from service.store import (
    artifacts,
    attempts,
    confirm_runs,
    decisions,
    leases,
    measurements,
    pilots,
    quotes,
    replays,
    sent_checkpoints,
    studies,
    study_summaries,
    trial_logs,
    webhooks,
)
from service.store.store import Store


def delete_study(store: Store, files: Files, name: str) -> None:
    """Delete a study in any state; workers that hold its leases hear `lost` at their next heartbeat or report.

    Rows go in one transaction and files after it; what a crash or a silent bucket leaves of these is removed later.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        dropped = set().union(*tx.ask(artifacts.lease_ids(study.study_id), sent_checkpoints.lease_ids(study.study_id)))
        dropped |= {held.lease_id for held in leases.of_study(tx, study.uuid)}
        for table in (
            leases,
            attempts,
            measurements,
            pilots,
            confirm_runs,
            quotes,
            replays,
            decisions,
            artifacts,
            sent_checkpoints,
            trial_logs,
            webhooks,
            study_summaries,
        ):
            table.forget_study(tx, study.uuid)
        artifacts.drop_folders(tx, dropped)
        studies.forget(tx, study)
        failpoint("delete.before_commit")
    failpoint("delete.after_commit")
    store.forget(study.study_id)
    remove_folders(files, dropped)
