"""What has had its time goes: pruning, which alone may delete lines of an audit log, and the indexes that it needs."""

from typing import Final

from alembic import op

revision: Final = "0019"
down_revision: Final = "0018"

_COLUMNS: Final = (
    "alter table deployments add column pruned_to bigint, add column pruned_at timestamptz",
    "alter table rollouts add column rollback_window text",
    """
    create table pruning (
        id integer not null,
        began_at timestamptz,
        epoch_floor bigint default '0' not null,
        constraint pk_pruning primary key (id),
        constraint ck_pruning_one check (id = 0)
    )
    """,
)

_INDEXES: Final = (
    "create index ix_rollouts_to_revision on rollouts (deployment, to_revision)",
    "create index ix_rollouts_from_revision on rollouts (deployment, from_revision)",
    "create index ix_rollouts_blue_set on rollouts (blue_set)",
    "create index ix_rollouts_green_set on rollouts (green_set)",
    "create index ix_route_sets_revision on route_sets (deployment, revision)",
    "create index ix_rollout_events_without_rollout on rollout_events (deployment, at) where rollout is null",
    "create index ix_router_events_at on router_events (at)",
    "create index ix_router_acks_deployment on router_acks (deployment)",
    "create index ix_router_load_route_set on router_load (route_set)",
    "create index ix_member_load_route on member_load (route)",
    "create index ix_console_sessions_token on console_sessions (token)",
)

_LOGS: Final = (
    "drop trigger append_only on rollout_events",
    "drop trigger append_only on router_events",
    *(
        f"""
        create trigger append_only before update or truncate on {table}
        for each statement execute function refuse_change_of_audit()
        """
        for table in ("rollout_events", "router_events")
    ),
    """
    create function refuse_unless_pruning() returns trigger language plpgsql as $$
    begin
        if coalesce(current_setting('celadon.prune', true), '') <> 'on' then
            raise exception 'the audit log is append-only: % of % is refused', tg_op, tg_table_name;
        end if;
        return old;
    end
    $$
    """,
    *(
        f"""
        create trigger pruned_only before delete on {table}
        for each row execute function refuse_unless_pruning()
        """
        for table in ("rollout_events", "router_events", "rollouts")
    ),
    """
    create function refuse_to_forget_young() returns trigger language plpgsql as $$
    begin
        if old.at > clock_timestamp() - interval '1 hour' then
            raise exception 'the audit log keeps every line for an hour: line % of % stays', old.id, tg_table_name;
        end if;
        return old;
    end
    $$
    """,
    """
    create trigger pruned_when_old before delete on router_events
    for each row execute function refuse_to_forget_young()
    """,
    """
    create trigger pruned_when_old before delete on rollout_events
    for each row when (old.rollout is null) execute function refuse_to_forget_young()
    """,
    # A cascading delete comes here when the rollout is gone already.
    """
    create function keep_audit_whole() returns trigger language plpgsql as $$
    begin
        if exists (select from rollouts where id = old.rollout) then
            raise exception 'rollout % is kept, and its audit log is whole: line % stays', old.rollout, old.id;
        end if;
        return old;
    end
    $$
    """,
    """
    create trigger pruned_with_rollout before delete on rollout_events
    for each row when (old.rollout is not null) execute function keep_audit_whole()
    """,
    "alter table rollout_events drop constraint fk_rollout_events_rollout_deployment",
    """
    alter table rollout_events add constraint fk_rollout_events_rollout_deployment
    foreign key (rollout, deployment) references rollouts (id, deployment) on delete cascade
    """,
    """
    create function keep_young_rollout() returns trigger language plpgsql as $$
    begin
        if old.outcome is null or old.completed_at > clock_timestamp() - interval '1 hour' then
            raise exception 'rollout % has not ended for an hour: it is kept', old.id;
        end if;
        return old;
    end
    $$
    """,
    """
    create trigger pruned_when_old before delete on rollouts
    for each row execute function keep_young_rollout()
    """,
)

_EPOCHS: Final = (
    # A router may remember, for as long as its connection lasts, which epoch of this name it served.
    """
    create function continue_epochs() returns trigger language plpgsql as $$
    begin
        new.epoch := greatest(new.epoch, coalesce((select epoch_floor from pruning where id = 0), 0));
        return new;
    end
    $$
    """,
    """
    create trigger epochs_go_on before insert on deployments
    for each row execute function continue_epochs()
    """,
)


def upgrade() -> None:
    """Let pruning delete, and nothing else; a new deployment's epochs begin above those of the pruned ones."""
    for statement in (*_COLUMNS, *_INDEXES, *_LOGS, *_EPOCHS):
        op.execute(statement)
