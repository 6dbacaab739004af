"""What keeps a round of the reaper from looking at all studies and models that there have ever been."""

from alembic import op

from service.store.sql.tables import HIDDEN, LACKS_CARD

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Index what is left to do: ended studies without a card, and files that no accepted result shows."""
    op.create_index(
        "study_spec_without_card", "study_spec", ["uuid"], sqlite_where=LACKS_CARD, postgresql_where=LACKS_CARD
    )
    op.create_index("artifact_hidden", "artifact", ["lease_id"], sqlite_where=HIDDEN, postgresql_where=HIDDEN)
