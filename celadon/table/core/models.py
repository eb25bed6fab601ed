"""The tables. Rules that must never be broken are constraints here; the migrations create the same."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from celadon.domain.language.durations import LONGEST
from celadon.domain.language.notification import DeliveryState, TargetKind
from celadon.domain.language.sizes import LARGEST
from celadon.domain.language.states import (
    Channel,
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    SetCondition,
)
from celadon.domain.language.traffic import (
    HEADER_PATTERN,
    HOST_PATTERN,
    LONGEST_HEADER,
    LONGEST_HOST,
    MOST_REQUESTS,
    MOST_RETRIES,
)
from celadon.table.core.types import StorableJson, StorableText


def _enum(kind: type[StrEnum], name: str = "") -> Enum:
    """Store an enumeration as its lower-case values, checked by the database; ``name`` is the constraint's."""
    return Enum(
        kind,
        name=name or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower(),
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """The base of all tables; Python types map to column types in this one place."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: StorableText(),
        datetime: DateTime(timezone=True),
        dict[str, Any]: StorableJson(),
        DeliveryState: _enum(DeliveryState),
        DeploymentLifecycle: _enum(DeploymentLifecycle),
        Channel: _enum(Channel, "door"),
        RolloutOutcome: _enum(RolloutOutcome),
        RolloutPhase: _enum(RolloutPhase),
        RouteHealthStatus: _enum(RouteHealthStatus),
        RouteSetState: _enum(RouteSetState),
        RouteStatus: _enum(RouteStatus),
        SetCondition: _enum(SetCondition),
        TargetKind: _enum(TargetKind),
    }


_now = func.now()

BY_MAGLEV = "maglev"
"""The way to balance that needs a header."""


class Deployment(Base):
    """A named service with one stable address; ``live_set`` is the pointer that a switch moves."""

    __tablename__ = "deployments"
    __table_args__ = (
        CheckConstraint("replicas >= 0", name="replicas"),
        CheckConstraint(f"max_requests between 1 and {MOST_REQUESTS}", name="max_requests"),
        CheckConstraint(f"max_body between 1 and {LARGEST}", name="max_body"),
        CheckConstraint(f"idle_timeout between interval '0' and interval '{LONGEST.days} days'", name="idle_timeout"),
        CheckConstraint(f"retries between 0 and {MOST_RETRIES}", name="retries"),
        CheckConstraint(f"load_balancing in ('least_request', '{BY_MAGLEV}')", name="load_balancing"),
        CheckConstraint(
            f"(hash_header is not null) = (coalesce(load_balancing, '') = '{BY_MAGLEV}')"
            f" and hash_header ~ '{HEADER_PATTERN}' and length(hash_header) <= {LONGEST_HEADER}",
            name="hash_header",
        ),
        CheckConstraint(r"name ~ '^[a-z]([a-z0-9-]{0,52}[a-z0-9])?$' and name !~ '-preview$'", name="name"),
        ForeignKeyConstraint(
            ["live_set", "name", "live_state"],
            ["route_sets.id", "route_sets.deployment", "route_sets.state"],
            use_alter=True,
        ),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    replicas: Mapped[int]
    live_set: Mapped[int | None] = mapped_column(BigInteger)
    live_state: Mapped[RouteSetState | None] = mapped_column(
        Computed("case when live_set is null then null else 'open' end", persisted=True),
    )
    """Part of the foreign key of ``live_set``: only an open set can be live, whatever a statement tries."""
    epoch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    lifecycle: Mapped[DeploymentLifecycle]
    policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    panicking: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the last that the audit log told of panic is that it began."""
    labels: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """What API tokens are scoped by."""
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    max_requests: Mapped[int | None]
    """How many requests may run at the same time, on each router; ``None`` of this and the next ones is the default."""
    max_body: Mapped[int | None] = mapped_column(BigInteger)
    """How many bytes the body of a request may say that it has."""
    idle_timeout: Mapped[timedelta | None]
    """How long a request may pass without a byte; zero means for ever."""
    retries: Mapped[int | None]
    """How often a request is tried again that no replica can have begun."""
    load_balancing: Mapped[str | None]
    """How a replica is chosen. Once it is given, routers keep what they need for either way."""
    hash_header: Mapped[str | None]
    """The header by which a replica is chosen."""
    pruned_to: Mapped[int | None] = mapped_column(BigInteger)
    """The highest number of a rollout of it that was pruned; ``None`` when none was."""
    pruned_at: Mapped[datetime | None]
    """When a rollout of it was pruned last."""


class DeploymentHost(Base):
    """A host name of a deployment's own; no two deployments have the same, in whatever letters somebody writes it."""

    __tablename__ = "deployment_hosts"
    __table_args__ = (CheckConstraint(f"host ~ '{HOST_PATTERN}' and length(host) <= {LONGEST_HOST}", name="host"),)

    host: Mapped[str] = mapped_column(primary_key=True)
    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.name", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=_now)


class RevisionRow(Base):
    """An immutable description of what is served; the same content has the same number."""

    __tablename__ = "revisions"
    __table_args__ = (UniqueConstraint("deployment", "digest"), CheckConstraint("number >= 1", name="number"))

    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.name"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    digest: Mapped[str]
    content: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=_now)


class Rollout(Base):
    """One move from blue to green; its id fences every step of its workflow."""

    __tablename__ = "rollouts"
    __table_args__ = (
        UniqueConstraint("id", "deployment"),
        UniqueConstraint("workflow_id", "run_id"),
        UniqueConstraint("next"),
        ForeignKeyConstraint(["deployment", "to_revision"], ["revisions.deployment", "revisions.number"]),
        ForeignKeyConstraint(["deployment", "from_revision"], ["revisions.deployment", "revisions.number"]),
        ForeignKeyConstraint(["blue_set", "deployment"], ["route_sets.id", "route_sets.deployment"], use_alter=True),
        ForeignKeyConstraint(["green_set", "deployment"], ["route_sets.id", "route_sets.deployment"], use_alter=True),
        CheckConstraint("(outcome is null) = (completed_at is null)", name="ended"),
        CheckConstraint("(switched_at is null) = (switch_epoch is null)", name="switched"),
        CheckConstraint("scaled_to >= 0", name="scaled_to"),
        CheckConstraint(
            "awaits_signal is null"
            " or (outcome is null"
            " and awaits_signal in ('blue_changed', 'gate_changed', 'keeper_back', 'room_changed'))",
            name="awaits_signal",
        ),
        CheckConstraint("pending_abort is null or outcome is null", name="pending_abort"),
        CheckConstraint("growth is null or (outcome is null and switch_epoch is null)", name="growth"),
        CheckConstraint("spent_decisions >= 0", name="spent_decisions"),
        Index("uq_rollouts_unfinished", "deployment", unique=True, postgresql_where=text("outcome is null")),
        Index("ix_rollouts_deployment_id", "deployment", "id"),
        # For the foreign keys, when what they name is pruned.
        Index("ix_rollouts_to_revision", "deployment", "to_revision"),
        Index("ix_rollouts_from_revision", "deployment", "from_revision"),
        Index("ix_rollouts_blue_set", "blue_set"),
        Index("ix_rollouts_green_set", "green_set"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.name"))
    workflow_id: Mapped[str]
    run_id: Mapped[str]
    from_revision: Mapped[int | None]
    to_revision: Mapped[int]
    blue_set: Mapped[int | None] = mapped_column(BigInteger)
    green_set: Mapped[int | None] = mapped_column(BigInteger)
    replicas: Mapped[int]
    policy: Mapped[dict[str, Any]]
    gated: Mapped[bool]
    rollback_window: Mapped[str | None]
    """Of a rollback: whether it is inside the rollback window and why, for people; then ``gated`` is false. ``None``
    of any other rollout."""
    requested_by: Mapped[str]
    requester_issuer: Mapped[str] = mapped_column(server_default="")
    """Who vouches for ``requested_by``; empty when nobody does."""
    reason: Mapped[str]
    next: Mapped[int | None] = mapped_column(BigInteger)
    """The number under which it waited for its turn; what waited begins once. ``None`` when it did not wait."""
    asked: Mapped[dict[str, Any] | None] = mapped_column(StorableJson(none_as_null=True))
    """What was asked for, with whose rights, so that it can be tried anew; ``None`` of rollouts of earlier versions."""
    phase: Mapped[RolloutPhase]
    phase_since: Mapped[datetime]
    started_at: Mapped[datetime]
    switched_at: Mapped[datetime | None]
    switch_epoch: Mapped[int | None] = mapped_column(BigInteger)
    switched_back_at: Mapped[datetime | None]
    switch_back_epoch: Mapped[int | None] = mapped_column(BigInteger)
    scaled_to: Mapped[int | None]
    """How many replicas a scaling during this rollout asked for last; it outlasts what the request said."""
    awaits_epoch: Mapped[int | None] = mapped_column(BigInteger)
    """Set while the rollout waits until every live router serves this epoch; the keeper tells it."""
    awaits_signal: Mapped[str | None]
    """The internal signal that the rollout waits for since a step was refused for the moment; whoever owes it clears
    this."""
    pending_abort: Mapped[dict[str, Any] | None] = mapped_column(StorableJson(none_as_null=True))
    """The abort that blue cannot take for the moment, and that counts: who asked, as was judged when it came. While it
    is set, blue is not closed."""
    growth: Mapped[dict[str, Any] | None] = mapped_column(StorableJson(none_as_null=True))
    """The decision by which a green that was opened as a preview grows before the switch: who took it, as was judged
    when it came, and when."""
    spent_decisions: Mapped[int] = mapped_column(server_default="0")
    """How many decisions were spent, with their approvals: green regressed, or a switch found it sick."""
    outcome: Mapped[RolloutOutcome | None]
    outcome_reason: Mapped[str] = mapped_column(server_default="")
    evidence: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    completed_at: Mapped[datetime | None]
    requests_cut: Mapped[int] = mapped_column(server_default="0")


class NextRolloutRow(Base):
    """A rollout that waits for its turn: one of a deployment at most. It goes when the rollout begins."""

    __tablename__ = "next_rollouts"
    __table_args__ = (
        UniqueConstraint("deployment"),
        ForeignKeyConstraint(["deployment", "revision"], ["revisions.deployment", "revisions.number"]),
        CheckConstraint("mode in ('replace', 'queue')", name="mode"),
        CheckConstraint("held = '' or due_at is null", name="held"),
        CheckConstraint("verified or issuer = ''", name="verified"),
        Index("ix_next_rollouts_after", "after"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.name"))
    revision: Mapped[int]
    mode: Mapped[str]
    """A value of ``OnNewRevision``: whether it ends the rollout under way, or waits for its end."""
    asked: Mapped[dict[str, Any]]
    """What was asked for, with whose rights, as it was judged."""
    requested_by: Mapped[str]
    issuer: Mapped[str] = mapped_column(server_default="")
    """Who vouches for ``requested_by``; empty when nobody does."""
    verified: Mapped[bool]
    reason: Mapped[str]
    request_id: Mapped[str]
    """Of the request; a repeat finds what waits. Empty when it had none."""
    after: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("rollouts.id", ondelete="SET NULL"))
    """The rollout that it waits for; ``None`` when that was pruned."""
    held: Mapped[str] = mapped_column(server_default="")
    """Why it does not start by itself, so that it waits for somebody; empty when it does."""
    due_at: Mapped[datetime | None]
    """When it was its turn; ``None`` while it waits."""
    created_at: Mapped[datetime] = mapped_column(server_default=_now)


class SpentRequest(Base):
    """The id of a signed message that was carried out; it counts once."""

    __tablename__ = "spent_requests"

    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.name"), primary_key=True)
    verb: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(primary_key=True)
    rollout: Mapped[int] = mapped_column(BigInteger, ForeignKey("rollouts.id"), index=True)
    run: Mapped[str]
    """The workflow's run that carried it out."""
    spent_at: Mapped[datetime] = mapped_column(server_default=_now)


class ApprovalRow(Base):
    """A verified person has approved one decision of a rollout; one person counts once."""

    __tablename__ = "approvals"
    __table_args__ = (CheckConstraint("issuer <> '' and request_id <> ''", name="verified"),)

    rollout: Mapped[int] = mapped_column(BigInteger, ForeignKey("rollouts.id"), primary_key=True)
    decision: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """How many decisions of the rollout were spent before: only approvals of the present one count."""
    issuer: Mapped[str] = mapped_column(primary_key=True)
    """Who vouches for the name; the same name by another issuer is another person."""
    subject: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str]
    """The id of the signed promotion."""
    door: Mapped[Channel]
    reason: Mapped[str]
    force: Mapped[bool]
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class PauseRow(Base):
    """A span in which the timers of a rollout stood still, for who is told and shown, and for a run that was reset."""

    __tablename__ = "pauses"
    __table_args__ = (CheckConstraint("until >= since", name="until"), Index("ix_pauses_rollout", "rollout"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    rollout: Mapped[int] = mapped_column(BigInteger, ForeignKey("rollouts.id"))
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    """Nothing until somebody resumes it."""
    paused_by: Mapped[str] = mapped_column(server_default="")
    door: Mapped[Channel | None]
    reason: Mapped[str] = mapped_column(server_default="")
    until_by: Mapped[str] = mapped_column(server_default="")
    """Who has changed its end since; empty when nobody has."""


class RefusedDecision(Base):
    """A decision that the table answered without a switch, so that a late attempt of it changes nothing any more."""

    __tablename__ = "refused_decisions"

    rollout: Mapped[int] = mapped_column(BigInteger, ForeignKey("rollouts.id"), primary_key=True)
    decision: Mapped[str] = mapped_column(primary_key=True)
    answer: Mapped[dict[str, Any]]
    """As its rollout was told, for an attempt that is made because the answer was lost."""


class RouteSet(Base):
    """The replicas that one rollout opened for one revision; colour is a property of the set."""

    __tablename__ = "route_sets"
    __table_args__ = (
        UniqueConstraint("id", "deployment"),
        UniqueConstraint("id", "deployment", "state"),
        UniqueConstraint("rollout"),
        ForeignKeyConstraint(["rollout", "deployment"], ["rollouts.id", "rollouts.deployment"]),
        ForeignKeyConstraint(["deployment", "revision"], ["revisions.deployment", "revisions.number"]),
        CheckConstraint("wanted >= 0", name="wanted"),
        CheckConstraint("(state = 'draining') <= (drain_deadline is not null)", name="drain"),
        Index("ix_route_sets_deployment", "deployment", postgresql_where=text("state <> 'gone'")),
        Index("ix_route_sets_revision", "deployment", "revision"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    deployment: Mapped[str]
    revision: Mapped[int]
    rollout: Mapped[int] = mapped_column(BigInteger)
    wanted: Mapped[int]
    state: Mapped[RouteSetState]
    condition: Mapped[SetCondition]
    """As told to the rollout last."""
    seq: Mapped[int] = mapped_column(server_default="0")
    scaled_edges: Mapped[int] = mapped_column(server_default="0")
    """How many of the edges in ``seq`` scaling caused; they do not count as the revision's."""
    growing: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it was scaled up and has not been ready since."""
    preview: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it wants ``preview_replicas`` at most: it has not grown, and is not switched to before it has."""
    replacements: Mapped[int] = mapped_column(server_default="0")
    lost_since: Mapped[datetime | None]
    """Since when no replica of it is healthy, of a green that is live and bakes; nothing while one is."""
    last_error: Mapped[str] = mapped_column(server_default="")
    opened_at: Mapped[datetime] = mapped_column(server_default=_now)
    drain_since: Mapped[datetime | None]
    drain_epoch: Mapped[int | None] = mapped_column(BigInteger)
    drain_deadline: Mapped[datetime | None]
    requests_cut: Mapped[int] = mapped_column(server_default="0")
    gone_at: Mapped[datetime | None]


class Route(Base):
    """One replica of a set; it is live because its set is, which the view ``route_traffic`` says."""

    __tablename__ = "routes"
    __table_args__ = (
        CheckConstraint("port between 1 and 65535", name="port"),
        CheckConstraint("(status in ('terminated', 'failed_to_start')) = (ended_at is not null)", name="ended"),
        CheckConstraint("(leaving_epoch is null) = (leaving_deadline is null)", name="leaving"),
        Index("ix_routes_set_id", "set_id"),
        Index("ix_routes_unfinished", "set_id", postgresql_where=text("ended_at is null")),
    )

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    set_id: Mapped[int] = mapped_column(ForeignKey("route_sets.id"))
    host: Mapped[str]
    port: Mapped[int]
    """The main one, which ``{port}`` of the revision's command stands for."""
    other_ports: Mapped[dict[str, int]] = mapped_column(StorableJson(), server_default=text("'{}'::jsonb"))
    """The numbers of its other ports, by the names that the revision gives them."""
    status: Mapped[RouteStatus]
    health: Mapped[RouteHealthStatus]
    health_fence: Mapped[int | None] = mapped_column(BigInteger)
    """The lease under which the health was seen: a switch believes only the keeper that holds it now."""
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    started_at: Mapped[datetime | None]
    ready_at: Mapped[datetime | None]
    """When it was healthy for the first time; before that it gets no live traffic."""
    ended_at: Mapped[datetime | None]
    last_error: Mapped[str] = mapped_column(server_default="")
    output: Mapped[str] = mapped_column(server_default="")
    """The last lines that a replica printed before it ended by itself."""
    leaving_epoch: Mapped[int | None] = mapped_column(BigInteger)
    """Set when its set wants fewer: from this epoch on routers send it no new request, and it stops when drained."""
    leaving_deadline: Mapped[datetime | None]
    requests_cut: Mapped[int] = mapped_column(server_default="0")
    """Requests that ran when it was stopped at the deadline of its own drain."""


class FreezeRow(Base):
    """A freeze: nothing is switched to green from ``begins_at`` to ``ends_at``, by the database's clock."""

    __tablename__ = "freezes"
    __table_args__ = (
        CheckConstraint("ends_at >= begins_at", name="ends"),
        Index("ix_freezes_deployment_ends_at", "deployment", "ends_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    deployment: Mapped[str | None] = mapped_column(ForeignKey("deployments.name"))
    """Nothing for all deployments."""
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    """Nothing until somebody ends it."""
    rollbacks: Mapped[bool] = mapped_column(server_default=text("true"))
    """Whether a rollback inside its window switches all the same."""
    actor: Mapped[str]
    issuer: Mapped[str] = mapped_column(server_default="")
    door: Mapped[Channel | None]
    reason: Mapped[str] = mapped_column(server_default="")
    verified: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=_now)


class RolloutEvent(Base):
    """One line of the audit log; triggers refuse to change it, and to delete it while its rollout is kept.

    The lines of a rollout are deleted with the rollout, by the foreign key alone: the log of a kept rollout is whole.
    """

    __tablename__ = "rollout_events"
    __table_args__ = (
        UniqueConstraint("rollout", "run", "seq"),
        ForeignKeyConstraint(["rollout", "deployment"], ["rollouts.id", "rollouts.deployment"], ondelete="CASCADE"),
        Index("ix_rollout_events_deployment_id", "deployment", "id"),
        Index("ix_rollout_events_without_rollout", "deployment", "at", postgresql_where=text("rollout is null")),
        Index("ix_rollout_events_order", "transaction_id", "id"),
        Index("ix_rollout_events_deployment_order", "deployment", "transaction_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.name"))
    rollout: Mapped[int | None] = mapped_column(BigInteger)
    run: Mapped[str] = mapped_column(server_default="")
    """The run of the workflow that tells this line; empty when no workflow does, or from before it was kept."""
    seq: Mapped[int | None]
    """The run's own number of this line, so that a second attempt writes it once."""
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    kind: Mapped[str]
    actor: Mapped[str] = mapped_column(server_default="")
    issuer: Mapped[str] = mapped_column(server_default="")
    """Who vouches for the actor; empty when nobody does."""
    door: Mapped[Channel | None]
    verified: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether a door vouches for the actor; else the name is what somebody declared."""
    reason: Mapped[str] = mapped_column(server_default="")
    evidence: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    transaction_id: Mapped[int] = mapped_column(
        BigInteger, server_default=text("((pg_current_xact_id())::text)::bigint")
    )
    """The transaction that wrote it (Postgres' ``xid8``); 0 of lines from before this was kept. ``event_order.py``."""


class Router(Base):
    """An Envoy that takes its routes from a gateway; live from its first acknowledgement until it is gone.

    A gateway believes it, and writes anything of it, only while it is enrolled.
    """

    __tablename__ = "routers"
    __table_args__ = (
        UniqueConstraint("identity"),
        CheckConstraint(
            "enrolled_at is not null "
            "or (identity is null and serial is null and previous_serial is null and expires_at is null)",
            name="enrolment",
        ),
        CheckConstraint("identity is not null or serial is null", name="serial"),
    )

    node: Mapped[str] = mapped_column(primary_key=True)
    gateway: Mapped[str] = mapped_column(server_default="")
    stream_started_at: Mapped[datetime | None]
    """When it connected last; ``None`` when it never did."""
    seen_at: Mapped[datetime | None]
    stream_ended_at: Mapped[datetime | None]
    """When its gateway saw its newest stream end; nothing while it is up, or when the gateway died with it."""
    acknowledged_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]
    nack: Mapped[str] = mapped_column(server_default="")
    enrolled_at: Mapped[datetime | None]
    """``None`` when it was never enrolled, or was forgotten since."""
    identity: Mapped[str | None]
    """What its certificate names; ``None`` for one that reaches its gateway by a Unix socket."""
    serial: Mapped[str | None]
    """Its newest certificate; ``None`` when every certificate counts that bears its identity."""
    previous_serial: Mapped[str | None]
    """The certificate before, which counts too: a router that runs takes the newest one at its next connection."""
    expires_at: Mapped[datetime | None]
    """When its newest certificate expires; of one that others have issued, the one that it showed last."""
    takes_limits: Mapped[bool] = mapped_column(server_default=text("true"))
    """Whether it asked for limits of requests when it connected last; else it has the default for every deployment."""


class RouterEvent(Base):
    """One line of the audit log of enrolments; triggers refuse to change it, and to delete it but by pruning."""

    __tablename__ = "router_events"
    __table_args__ = (Index("ix_router_events_router_id", "router", "id"), Index("ix_router_events_at", "at"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    router: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    kind: Mapped[str]
    actor: Mapped[str]
    door: Mapped[str]
    verified: Mapped[bool]
    """Whether a door vouches for the actor; else the name is what somebody declared."""
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class RouterAck(Base):
    """The newest epoch of a deployment that a router serves."""

    __tablename__ = "router_acks"

    router: Mapped[str] = mapped_column(ForeignKey("routers.node", ondelete="CASCADE"), primary_key=True)
    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.name"), primary_key=True, index=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]


class RouterLoad(Base):
    """Running requests of a set that drains, as one router reports them."""

    __tablename__ = "router_load"

    router: Mapped[str] = mapped_column(ForeignKey("routers.node", ondelete="CASCADE"), primary_key=True)
    route_set: Mapped[int] = mapped_column(ForeignKey("route_sets.id"), primary_key=True, index=True)
    epoch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The deployment's epoch when it was counted: what was counted before a drain began says nothing of it."""
    running: Mapped[int]
    zero_reports: Mapped[int]
    """Reports of zero in a row that count for the drain."""
    reported_at: Mapped[datetime]


class Failover(Base):
    """What a router has sent to a blue that bakes, because no replica of green could take it."""

    __tablename__ = "failovers"

    router: Mapped[str] = mapped_column(ForeignKey("routers.node", ondelete="CASCADE"), primary_key=True)
    route_set: Mapped[int] = mapped_column(ForeignKey("route_sets.id"), primary_key=True, index=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    """A report whose writing was answered by nobody may be counted twice."""
    began_at: Mapped[datetime]
    reported_at: Mapped[datetime]


class MemberLoad(Base):
    """Running requests of one replica that leaves a set which stays, as one router reports them."""

    __tablename__ = "member_load"

    router: Mapped[str] = mapped_column(ForeignKey("routers.node", ondelete="CASCADE"), primary_key=True)
    route: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("routes.id"), primary_key=True, index=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    """The ``leaving_epoch`` that the router counts for: what was reported of an earlier one says nothing."""
    running: Mapped[int]
    zero_reports: Mapped[int]
    reported_at: Mapped[datetime]


class KeeperLease(Base):
    """Who owns replicas now; every write of a keeper carries the fence."""

    __tablename__ = "keepers"

    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    holder: Mapped[str]
    fence: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[datetime]
    risks: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    """What the settings of its worker let others do: values of ``WorkerRisk``."""


class DefaultPolicy(Base):
    """The policy that the installation gives to deployments that say nothing: one row, or none while nobody set any."""

    __tablename__ = "default_policy"
    __table_args__ = (
        CheckConstraint("id = 0", name="one"),
        CheckConstraint("jsonb_typeof(policy) = 'object'", name="policy"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    policy: Mapped[dict[str, Any]]
    """With the keys alone that it gives."""


class DefaultChange(Base):
    """One change of the defaults; triggers refuse to change it, and to delete it but by pruning."""

    __tablename__ = "default_changes"
    __table_args__ = (Index("ix_default_changes_at", "at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    actor: Mapped[str]
    issuer: Mapped[str]
    """Who vouches for the actor; empty when nobody does."""
    door: Mapped[Channel]
    verified: Mapped[bool]
    """Whether a door vouches for the actor; else the name is what somebody declared."""
    reason: Mapped[str]
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    """The defaults as they were and as they are since, with the keys alone that they give."""


class Pruning(Base):
    """What pruning remembers of itself: one row."""

    __tablename__ = "pruning"
    __table_args__ = (CheckConstraint("id = 0", name="one"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    began_at: Mapped[datetime | None]
    """When a keeper began to prune last."""
    epoch_floor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Above every epoch of deployments that were pruned: where a new one begins, which may have the name of one."""


class OutboxMessage(Base):
    """A signal that a rollout is owed; written with what it tells, deleted when Temporal has taken it."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    workflow_id: Mapped[str]
    signal: Mapped[str]
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=_now)


class ConsoleLogin(Base):
    """A login to the console by a link that works once."""

    __tablename__ = "console_logins"
    __table_args__ = (
        UniqueConstraint("code_sha256"),
        CheckConstraint("cardinality(roles) > 0", name="roles"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    """Who logs in, as the audit log shows it."""
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    scope: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    code_sha256: Mapped[str]
    code_expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    used_at: Mapped[datetime | None]


class ConsoleSession(Base):
    """Somebody who has logged in to the console. Only a hash of the secret in the cookie is kept."""

    __tablename__ = "console_sessions"
    __table_args__ = (
        CheckConstraint("length(secret_sha256) = 64", name="secret"),
        Index("ix_console_sessions_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    secret_sha256: Mapped[str]
    name: Mapped[str]
    """Who looks, as the audit log shows it."""
    issuer: Mapped[str]
    """Who vouches for the name."""
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    scope: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    token: Mapped[str | None] = mapped_column(ForeignKey("api_tokens.id"), index=True)
    """The static token that opened it; the session ends with it."""
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    seen_at: Mapped[datetime] = mapped_column(server_default=_now)
    """To the minute."""
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ScheduleRow(Base):
    """A schedule that somebody made through a door of Celadon: what it asks for and when, and for whom.

    Temporal fires it; that a firing counts for its author rests on this row alone.
    """

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint("(at is null) <> (cron = '')", name="moments"),
        CheckConstraint("cardinality(roles) > 0 or not verified", name="roles"),
    )

    deployment: Mapped[str] = mapped_column(ForeignKey("deployments.name"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    command: Mapped[str]
    argument: Mapped[dict[str, Any]]
    at: Mapped[datetime | None]
    """The one moment at which it fires; ``None`` for one with a cron expression."""
    cron: Mapped[str]
    """Empty for one that fires once."""
    zone: Mapped[str]
    author: Mapped[str]
    """As the audit log shows it."""
    issuer: Mapped[str]
    """Who vouches for the author; empty when nobody does."""
    verified: Mapped[bool]
    """Whether a door vouches for the author; else a firing is judged as an unsigned message is."""
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """The author's roles when it was made: those that count, unless the table knows the author's token."""
    scope: Mapped[dict[str, Any]]
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=_now)


class ScheduleKey(Base):
    """The public key of a worker that gives commands for authors of schedules; its private half never leaves it."""

    __tablename__ = "schedule_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[str]
    """Ed25519, in PEM."""
    used_at: Mapped[datetime] = mapped_column(server_default=_now)


class ApiToken(Base):
    """A static token of the API. Only a hash of its secret is kept, which is random enough to need no slow one."""

    __tablename__ = "api_tokens"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("length(secret_sha256) = 64", name="secret"),
        CheckConstraint("cardinality(roles) > 0", name="roles"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secret_sha256: Mapped[str]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    scope: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """Labels that a deployment must bear; empty for all deployments."""
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class NotifyTarget(Base):
    """Where notifications go, as an operator has said; secrets are named here, never kept."""

    __tablename__ = "notify_targets"
    __table_args__ = (
        CheckConstraint("(url is null) <> (url_secret is null)", name="address"),
        CheckConstraint(
            "case kind when 'webhook' then cardinality(signing_secrets) between 1 and 2 "
            "else cardinality(signing_secrets) = 0 end",
            name="signed",
        ),
        CheckConstraint("every_deployment or cardinality(events) = 0", name="events"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[TargetKind]
    url: Mapped[str | None]
    url_secret: Mapped[str | None]
    """The name of the secret that holds the whole URL, for targets whose URL is their password."""
    signing_secrets: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """Names of secrets, the newest first; two during a rotation."""
    every_deployment: Mapped[bool]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """What it is told of every deployment; empty for everything."""
    added_by: Mapped[str]
    added_at: Mapped[datetime] = mapped_column(server_default=_now)
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str] = mapped_column(server_default="")


class Notification(Base):
    """A fact about a rollout that somebody is told, written in the transaction that made it one."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("rollout", "kind", "about"),
        ForeignKeyConstraint(["rollout", "deployment"], ["rollouts.id", "rollouts.deployment"]),
        Index("ix_notifications_deployment_seq", "deployment", "seq"),
    )

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()"))
    """Its identity wherever it is sent: whoever has seen it before need not look again."""
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    deployment: Mapped[str | None] = mapped_column(ForeignKey("deployments.name"))
    """Nothing for a test."""
    rollout: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str]
    about: Mapped[str] = mapped_column(server_default="")
    """Makes it one of its kind within its rollout."""
    event: Mapped[int | None] = mapped_column(BigInteger)
    """The line of the audit log that it tells; no foreign key, so that nothing hinders the log's own trigger."""
    at: Mapped[datetime]
    notice: Mapped[dict[str, Any]]


class Delivery(Base):
    """One notification to one target. The target may be removed while its deliveries are remembered."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("notification", "target"),
        CheckConstraint("(state = 'delivered') = (delivered_at is not null)", name="delivered"),
        CheckConstraint("attempts >= 0", name="attempts"),
        Index(
            "ix_deliveries_open",
            "target",
            "next_attempt_at",
            postgresql_where=text("state in ('waiting', 'dead')"),
        ),
        Index("ix_deliveries_rollout_target", "rollout", "target", postgresql_where=text("state = 'waiting'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    notification: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("notifications.id"))
    rollout: Mapped[int | None] = mapped_column(BigInteger)
    """As the notification's: deliveries of one rollout to one target keep their order."""
    target: Mapped[str]
    state: Mapped[DeliveryState]
    due_at: Mapped[datetime]
    """Not before; the end of trying counts from here."""
    next_attempt_at: Mapped[datetime]
    """While an attempt runs, the moment at which its worker counts as dead."""
    attempts: Mapped[int] = mapped_column(server_default="0")
    last_status: Mapped[int | None]
    last_error: Mapped[str] = mapped_column(server_default="")
    attempted_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]


class ApiRequest(Base):
    """A request to the API that named an id: a repeat gets the first answer and never means another rollout."""

    __tablename__ = "api_requests"
    __table_args__ = (Index("ix_api_requests_created_at", "created_at"),)

    issuer: Mapped[str] = mapped_column(primary_key=True, server_default="")
    """Who vouches for ``principal``: the same name elsewhere is somebody else."""
    principal: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    """A hash of what was asked, by which another request under the same id is told."""
    meant: Mapped[dict[str, Any]]
    """What the request was found to mean when it came first."""
    answer: Mapped[dict[str, Any] | None] = mapped_column(StorableJson(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
