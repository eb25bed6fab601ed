"""The rules that peers break and Celadon keeps, and for each at least one patch that breaks it.

A patch names the definition that it breaks and the syntax that it replaces there, which layout, comments and the code
around it do not change.
"""

from dataclasses import dataclass
from typing import Final

RULES: Final = {
    1: "waiting costs nothing",
    2: "the delay counts from the moment all of green was verified",
    3: "a promotion says what it means and is never stored up",
    4: "the switch re-checks everything under its lock",
    5: "an abort works in every phase, whatever green's health",
    6: "what happened is what the switch answered",
    7: "blue serves until every router has acknowledged and its requests are zero",
    8: "a first deployment, no replicas, other replicas",
    9: "without a health check a port that accepts is healthy",
    10: "a green that fails is replaced so often and no more",
    11: "one decision after all messages; the loser is told",
    12: "failures are retried, refusals are final, whoever lost its place changes nothing",
    13: "what comes from outside is bounded, and a rollout goes on in a new run unnoticed",
    14: "who may do a thing is decided on what will happen, and a signed message counts once",
    15: "only green's own doing counts against green, and only an incurable refusal ends a way back",
}


@dataclass(frozen=True)
class Sabotage:
    """One patch, and the tests that must turn red with it."""

    rule: int
    title: str
    module: str
    definition: str
    """The qualified name of the function, class or variable of the module that is broken."""
    old: str
    """What stands there exactly once, as a pattern of :mod:`tests.sabotage.syntax`."""
    new: str
    """What the patch writes instead; empty, it leaves statements out."""
    tests: tuple[str, ...]
    """At least one of them fails with the patch; all pass without it."""

    @property
    def file(self) -> str:
        """Where the module stands in the repository."""
        return f"{self.module.replace('.', '/')}.py"


SABOTAGES: Final = (
    # 1: waiting costs nothing.
    Sabotage(
        1,
        "wake up every day to look",
        "workflows.steps",
        "RolloutSteps._rest",
        "max(first[1] - now, timedelta(0))",
        "min(first[1] - now, timedelta(days=1))",
        ("tests/workflows/test_waiting.py::test_a_week_at_the_gate_writes_no_history",),
    ),
    Sabotage(
        1,
        "tell every probe, not edges alone",
        "celadon.table.rollouts.condition",
        "tell_rollout",
        "if condition is before and not scaled:",
        "if False:",
        ("tests/table/replicas/test_routes.py::test_a_rollout_hears_of_edges_alone_each_with_the_next_number",),
    ),
    Sabotage(
        1,
        "let timers decide however often green regressed",
        "celadon.domain.language.progress",
        "Progress.automation_suspended",
        "self.regressions > self.policy.max_regressions",
        "False",
        ("tests/domain/decisions/test_gate.py::test_after_too_many_regressions_no_timer_decides",),
    ),
    # 2: the delay.
    Sabotage(
        2,
        "keep the delay over a regression",
        "workflows.rollout",
        "BlueGreenRollout._enter",
        "now if waits else None",
        "self._state.progress.verified_since or (now if waits else None)",
        ("tests/workflows/test_promotion.py::test_a_regression_starts_the_delay_anew",),
    ),
    Sabotage(
        2,
        "let a person wait for the delay too",
        "celadon.domain.decisions.gate",
        "promotion_requested",
        "if request is None:",
        "if True:",
        ("tests/domain/decisions/test_gate.py::test_a_persons_promotion_goes_ahead_at_once_whatever_the_timers_say",),
    ),
    Sabotage(
        2,
        "let force override the healthy count",
        "celadon.domain.decisions.promotion",
        "_refuse_health",
        "if green is not None and not green.failed and green.ready >= green.required:",
        "if green is not None and not green.failed:",
        ("tests/domain/decisions/test_promotion.py::test_too_few_healthy_greens_are_refused_forced_or_not",),
    ),
    # 3: promotions.
    Sabotage(
        3,
        "promote another revision than the one that was reviewed",
        "celadon.domain.decisions.promotion",
        "_refuse_target",
        "if command.revision is not None and command.revision != progress.to_revision:",
        "if False:",
        (
            (
                "tests/domain/decisions/test_promotion.py"
                "::test_a_promotion_that_means_something_else_is_refused_in_every_phase"
            ),
            "tests/workflows/test_promotion.py::test_another_promotion_than_the_one_that_waits_is_refused",
        ),
    ),
    Sabotage(
        3,
        "store a promotion up until green is verified",
        "celadon.domain.decisions.promotion",
        "_refuse_phase",
        '_too_early(progress, "its replicas still start")',
        "None",
        (
            (
                "tests/workflows/test_promotion.py"
                "::test_a_promotion_before_green_is_verified_is_refused_and_not_stored_up"
            ),
        ),
    ),
    Sabotage(
        3,
        "swallow a signal that was refused",
        "workflows.messages",
        "MessageHandlers._record_signal",
        "self._keep_refusal(*...)",
        "None",
        ("tests/workflows/test_messages.py::test_bad_signals_are_kept_as_refused_and_the_rollout_goes_on",),
    ),
    # 4: the switch.
    Sabotage(
        4,
        "drop the lock",
        "celadon.table.core.locks",
        "_LOCKED",
        "(...).with_for_update(*...)",
        "...",
        ("tests/table/rollouts/test_switch.py::test_two_switches_at_once_give_one_epoch",),
    ),
    Sabotage(
        4,
        "believe the workflow's count of healthy greens",
        "celadon.table.rollouts.switch",
        "_refuse_health",
        "if vouched.healthy < required:",
        "if False:",
        ("tests/table/rollouts/test_switch.py::test_a_switch_with_a_broken_precondition_changes_no_row",),
    ),
    Sabotage(
        4,
        "believe health that an earlier keeper saw",
        "celadon.table.rollouts.switch",
        "_refuse_health",
        "if vouched.confirmed < required:",
        "if False:",
        ("tests/table/rollouts/test_switch.py::test_a_switch_with_a_broken_precondition_changes_no_row",),
    ),
    Sabotage(
        4,
        "switch through a freeze",
        "celadon.table.rollouts.switch",
        "_lock_green",
        "if deployment.frozen:",
        "if False:",
        ("tests/table/rollouts/test_switch.py::test_a_switch_with_a_broken_precondition_changes_no_row",),
    ),
    Sabotage(
        4,
        "let force override a freeze",
        "celadon.table.rollouts.switch",
        "_lock_green",
        "if deployment.frozen:",
        "if deployment.frozen and not step.force:",
        ("tests/table/rollouts/test_switch.py::test_force_overrides_neither_a_freeze_nor_health",),
    ),
    Sabotage(
        4,
        "switch again at a second attempt",
        "celadon.table.rollouts.switch",
        "_switch",
        "if done is not None and done.switch_epoch is not None and done.green_set == step.green_set:",
        "if False:",
        ("tests/table/rollouts/test_switch.py::test_a_switch_twice_gives_one_epoch_and_the_same_answer",),
    ),
    Sabotage(
        4,
        "let an attempt that everybody has forgotten switch after all",
        "celadon.table.rollouts.switch",
        "switch",
        "refused or await _switch(*...)",
        "await _switch(tx, locked, rollout, step, authority)",
        (
            (
                "tests/table/rollouts/test_switch.py"
                "::test_a_decision_that_was_refused_does_not_switch_when_a_late_attempt_of_it_could"
            ),
        ),
    ),
    # 5: abort.
    Sabotage(
        5,
        "abort only a healthy green",
        "celadon.domain.decisions.gate",
        "abort_requested",
        "if request is None:",
        "if request is None or not progress.green_is_ready:",
        ("tests/domain/decisions/test_gate.py::test_an_abort_closes_green_whatever_its_health",),
    ),
    Sabotage(
        5,
        "keep a sick green because blue is not whole",
        "celadon.table.rollouts.way_back",
        "read_way_back",
        "drains or not await _is_healthy(*...)",
        "drains",
        ("tests/table/rollouts/test_switch.py::test_one_healthy_blue_is_enough_when_green_is_not",),
    ),
    # 6: the answer.
    Sabotage(
        6,
        "clean up in except",
        "workflows.rollout",
        "BlueGreenRollout.run",
        "asyncio.shield(...)",
        "...",
        ("tests/workflows/test_going_back.py::test_a_cancel_during_the_switch_believes_the_table_and_switches_back",),
    ),
    Sabotage(
        6,
        "believe that a switch went through",
        "workflows.rollout",
        "BlueGreenRollout._pass_the_gate",
        "if answer.refusal is None:",
        "if True:",
        ("tests/workflows/test_promotion.py::test_a_switch_that_the_table_refuses_spends_the_decision",),
    ),
    Sabotage(
        6,
        "end a run that was reset as it believes",
        "celadon.table.rollouts.finish",
        "_what_happened",
        "if believed is RolloutOutcome.FAILED or rollout.switch_epoch is None:",
        "if believed:",
        ("tests/table/rollouts/test_finish.py::test_a_workflow_that_was_reset_ends_with_what_happened",),
    ),
    # 7: drains.
    Sabotage(
        7,
        "skip the acknowledgement",
        "celadon.table.rollouts.route_sets",
        "close_set",
        "if acknowledgement.silent:",
        "if False:",
        ("tests/table/rollouts/test_route_sets.py::test_a_set_is_not_closed_while_a_live_router_is_silent",),
    ),
    Sabotage(
        7,
        "stop blue at its deadline under a router that has not acknowledged",
        "celadon.domain.decisions.drain",
        "may_stop",
        "if silent and (was_live or not past_deadline):",
        "if silent and not past_deadline:",
        ("tests/domain/decisions/test_drain.py::test_a_set_that_was_live_stops_only_when_every_live_router_lets_it",),
    ),
    Sabotage(
        7,
        "stop blue under a router that has come back",
        "celadon.table.replicas.routes",
        "stop_drained",
        "if not _still_drains(row, managed) or await _is_used(tx, row, managed.drain_epoch):",
        "if not _still_drains(row, managed):",
        ("tests/table/replicas/test_routes.py::test_a_router_that_comes_back_after_the_decision_keeps_what_it_uses",),
    ),
    Sabotage(
        7,
        "believe the first zero",
        "celadon.domain.decisions.drain",
        "ENOUGH_ZERO_REPORTS",
        "2",
        "0",
        ("tests/domain/decisions/test_drain.py::test_a_set_that_was_live_stops_only_when_every_live_router_lets_it",),
    ),
    Sabotage(
        7,
        "believe a zero of an earlier drain",
        "celadon.table.core.router_rules",
        "counts_for_drain",
        "RouterLoad.epoch >= RouteSet.drain_epoch",
        "RouterLoad.epoch >= 0",
        (
            (
                "tests/table/replicas/test_drain_reports.py"
                "::test_a_zero_of_an_earlier_drain_that_is_written_late_says_nothing"
            ),
        ),
    ),
    Sabotage(
        7,
        "believe the zeros of another peer",
        "celadon.gateway.server",
        "XdsServer._counts",
        "stream is not None and stream.speaker == speaker",
        "True",
        ("tests/security/test_gateway_identity.py::test_zeros_of_another_process_do_not_stop_blue",),
    ),
    Sabotage(
        7,
        "believe the acknowledgements of a router that was forgotten",
        "celadon.table.routers.reports",
        "router_acknowledged",
        "if await tx.scalar(*...) is None:",
        "if False:",
        (
            (
                "tests/table/routers/test_enrolments.py"
                "::test_what_is_said_of_a_router_that_nobody_enrolled_changes_no_row"
            ),
        ),
    ),
    Sabotage(
        7,
        "cut requests without counting them",
        "celadon.table.replicas.routes",
        "stop_drained",
        "row.requests_cut += running",
        "",
        ("tests/keeper/test_draining_sets.py::test_requests_that_still_run_at_the_deadline_are_cut_and_counted",),
    ),
    # 8: the first deployment.
    Sabotage(
        8,
        "let a first deployment wait for a person",
        "celadon.table.rollouts.begin",
        "begin",
        "blue is not None or asks_for_gate(*...)",
        "True",
        ("tests/table/rollouts/test_begin.py::test_a_first_deployment_has_a_gate_only_when_its_policy_asks",),
    ),
    Sabotage(
        8,
        "call a first deployment that failed ready",
        "celadon.table.rollouts.finish",
        "_end",
        "DeploymentLifecycle.READY if lives else DeploymentLifecycle.PENDING",
        "DeploymentLifecycle.READY",
        ("tests/table/rollouts/test_finish.py::test_a_first_deployment_that_failed_is_pending_with_nothing_live",),
    ),
    Sabotage(
        8,
        "ask for a healthy replica where none is wanted",
        "celadon.domain.language.policy",
        "required_healthy",
        "min(replicas, ...)",
        "...",
        ("tests/table/rollouts/test_switch.py::test_a_green_without_replicas_may_go_live",),
    ),
    # 9: no health check.
    Sabotage(
        9,
        "ask every replica over HTTP",
        "celadon.domain.language.health_check",
        "HealthCheck.kind",
        '"tcp" if self.path is None else "http"',
        '"http"',
        ("tests/domain/decisions/test_health.py::test_a_check_without_a_path_asks_whether_the_port_accepts",),
    ),
    # 10: green that fails.
    Sabotage(
        10,
        "replace green for ever",
        "celadon.table.rollouts.condition",
        "due_condition",
        "row.replacements > policy.max_replacements",
        "row.replacements > 1_000_000",
        ("tests/table/replicas/test_routes.py::test_more_failures_than_replacements_end_a_green",),
    ),
    Sabotage(
        10,
        "start the deadline anew with each phase",
        "celadon.domain.decisions.gate",
        "_wait_for_green",
        "progress.unverified_since or progress.since",
        "progress.since",
        ("tests/domain/decisions/test_gate.py::test_provisioning_and_verifying_share_one_deadline",),
    ),
    Sabotage(
        10,
        "wait for a green that has failed",
        "celadon.domain.decisions.gate",
        "green_failed",
        "if not progress.green_failed:",
        "if True:",
        ("tests/domain/decisions/test_gate.py::test_a_green_that_failed_ends_the_rollout_with_its_last_error",),
    ),
    # 11: decisions.
    Sabotage(
        11,
        "let a promotion beat an abort",
        "celadon.domain.decisions.gate",
        "abort_requested",
        "if request is None:",
        "if request is None or progress.promotion is not None:",
        ("tests/domain/decisions/test_gate.py::test_an_abort_always_wins",),
    ),
    Sabotage(
        11,
        "leave the loser without an answer",
        "workflows.state",
        "StatefulWorkflow._refuse_promotions",
        "for one in pending: ...",
        "",
        (
            (
                "tests/workflows/test_going_back.py"
                "::test_a_promotion_that_meets_an_abort_is_told_that_the_abort_goes_first"
            ),
        ),
    ),
    Sabotage(
        11,
        "forget a cancel that met a promotion",
        "workflows.messages",
        "MessageHandlers._record_cancel",
        "self._add_abort(*...)",
        "None",
        ("tests/workflows/test_going_back.py::test_a_cancel_during_the_bake_switches_back",),
    ),
    # 12: retries and fences.
    Sabotage(
        12,
        "retry a refusal",
        "activities.refusals",
        "refusals_are_final",
        "True",
        "False",
        ("tests/activities/test_refusals.py::test_a_refusal_is_never_retried",),
    ),
    Sabotage(
        12,
        "give a step up after its first failure",
        "workflows.calls",
        "RETRY",
        "RetryPolicy(*...)",
        "RetryPolicy(maximum_attempts=1)",
        ("tests/workflows/test_retries.py::test_a_step_that_fails_is_tried_again_until_it_answers",),
    ),
    Sabotage(
        12,
        "let a rollout that ended go on",
        "celadon.table.core.locks",
        "owning",
        "if row is None or row.outcome is not None:",
        "if row is None:",
        ("tests/table/rollouts/test_begin.py::test_a_rollout_that_ends_as_terminated_can_do_nothing_any_more",),
    ),
    Sabotage(
        12,
        "let a keeper without its lease write",
        "celadon.table.core.fences",
        "HELD",
        "KeeperLease.fence == bindparam('held')",
        "KeeperLease.fence >= bindparam('held')",
        ("tests/table/replicas/test_routes.py::test_a_keeper_that_lost_its_lease_writes_nothing",),
    ),
    Sabotage(
        12,
        "begin anew at a second attempt",
        "celadon.table.rollouts.begin",
        "begin",
        "if known is not None:",
        "if False:",
        ("tests/table/rollouts/test_begin.py::test_a_second_attempt_of_the_same_run_finds_the_first_ones_rollout",),
    ),
    # 13: what comes from outside is bounded, and a rollout goes on in a new run unnoticed.
    Sabotage(
        13,
        "keep of a refusal what it refuses",
        "celadon.domain.language.errors",
        "_bounded_message",
        "clip(*...)",
        "text",
        ("tests/domain/language/test_limits.py::test_a_refusal_stays_small_whatever_it_quotes",),
    ),
    Sabotage(
        13,
        "read a message however large it is",
        "celadon.domain.language.payload",
        "_check_size",
        "if len(document) > limit:",
        "if len(document) < 0:",
        ("tests/domain/language/test_limits.py::test_a_message_beyond_the_limit_is_refused_before_it_is_read",),
    ),
    Sabotage(
        13,
        "parse every message of a task",
        "workflows.messages",
        "MessageHandlers._reads_one_more",
        "if read <= KEPT_MESSAGES or not workflow.patched(_READS_FEW):",
        "if read:",
        ("tests/workflows/test_floods.py::test_a_task_reads_a_hundred_messages_and_counts_the_rest",),
    ),
    Sabotage(
        13,
        "keep every line that messages cause",
        "celadon.domain.language.rollout_state",
        "RolloutState.keep_note",
        "if not of_message:",
        "if note:",
        ("tests/domain/language/test_rollout_state.py::test_lines_of_messages_that_find_no_room_are_counted",),
    ),
    Sabotage(
        13,
        "believe a state that somebody sends",
        "workflows.state",
        "_continued_state",
        "info.continued_run_id is None",
        "False",
        ("tests/workflows/test_moving_on.py::test_a_forged_state_is_no_start",),
    ),
    Sabotage(
        13,
        "let a reset run of a rollout that has ended wait for ever",
        "workflows.messages",
        "MessageHandlers._hear_of_reset",
        "if workflow.patched(_ASKS_AFTER_RESET):",
        "if not workflow.patched(_ASKS_AFTER_RESET):",
        ("tests/workflows/test_going_back.py::test_a_run_that_was_reset_asks_the_table_anew",),
    ),
    Sabotage(
        13,
        "forget what an update was answered",
        "celadon.domain.language.rollout_state",
        "RolloutState.answer_to",
        "next(*...)",
        "None",
        ("tests/workflows/test_moving_on.py::test_an_update_that_comes_again_gets_its_first_answer",),
    ),
    Sabotage(
        13,
        "never move to a new run",
        "workflows.steps",
        "RolloutSteps._rest",
        "workflow.patched(MOVES_ON)",
        "False",
        ("tests/workflows/test_moving_on.py::test_it_waits_on_for_its_promotion",),
    ),
    Sabotage(
        13,
        "let lines of a run that was reset vanish behind those of the first",
        "celadon.table.rollouts.audit",
        "write_notes",
        "note.run",
        '""',
        ("tests/table/rollouts/test_audit.py::test_lines_of_another_run_with_the_same_numbers_are_written_too",),
    ),
    # 14: rights follow what will happen.
    Sabotage(
        14,
        "let a request ease the deployment's own policy",
        "celadon.table.rollouts.rights",
        "rights_to_start",
        "if eased:",
        "if False:",
        ("tests/security/test_rights.py::test_past_the_api_the_table_refuses_the_same",),
    ),
    Sabotage(
        14,
        "let a signed message count twice",
        "celadon.table.rollouts.spent_requests",
        "spend",
        "spent(*...)",
        "None",
        ("tests/security/test_signed_messages.py::test_a_promotion_that_was_refused_counts_in_no_other_run",),
    ),
    Sabotage(
        14,
        "believe a signature of something else",
        "celadon.domain.decisions.authority",
        "Authority._is_signed",
        "self.verifies(*...)",
        "bool(text)",
        ("tests/domain/decisions/test_authority.py::test_a_copy_that_says_anything_else_counts_as_unsigned",),
    ),
    Sabotage(
        14,
        "carry a step out for whoever asks",
        "activities.own_workflows",
        "refuse_caller",
        "if info.workflow_type != WORKFLOW_TYPE:",
        "if False:",
        ("tests/security/test_foreign_callers.py::test_a_workflow_of_another_type_gets_no_step",),
    ),
    Sabotage(
        14,
        "take a timer's word for it that the policy switches",
        "celadon.table.rollouts.switch",
        "_switch",
        "if step.message is None and not switches_by_itself(read_policy(rollout.policy), gated=rollout.gated):",
        "if False:",
        (
            (
                "tests/security/test_foreign_callers.py"
                "::test_a_workflow_under_the_rollouts_own_name_moves_no_traffic_that_nobody_signed"
            ),
        ),
    ),
    # 15: what passes ends nothing.
    Sabotage(
        15,
        "end a way back for a blue that is sick for the moment",
        "celadon.domain.decisions.abort",
        "pending_after",
        "if answer.refusal.code is not RefusalCode.NO_HEALTHY_BLUE:",
        "if answer.refusal is not None:",
        ("tests/workflows/test_pending_aborts.py::test_the_bake_does_not_end_while_an_abort_is_pending",),
    ),
    Sabotage(
        15,
        "end the bake while an abort is pending",
        "celadon.domain.decisions.after_switch",
        "_way_back",
        "if progress.pending is not None:",
        "if False:",
        ("tests/workflows/test_pending_aborts.py::test_the_bake_does_not_end_while_an_abort_is_pending",),
    ),
    Sabotage(
        15,
        "close blue under an abort that waits for it",
        "celadon.table.rollouts.route_sets",
        "close_set",
        "if rollout.pending_abort is not None and step.route_set == rollout.blue_set:",
        "if False:",
        ("tests/table/rollouts/test_asked_signals.py::test_blue_is_not_closed_while_an_abort_is_pending",),
    ),
    Sabotage(
        15,
        "tell nobody that blue has recovered",
        "celadon.table.rollouts.asked_signals",
        "answer_asked",
        "if rollout.awaits_signal == BLUE_CHANGED:",
        "if False:",
        ("tests/table/rollouts/test_asked_signals.py::test_a_rollout_is_told_once_when_blue_can_take_the_traffic",),
    ),
    Sabotage(
        15,
        "let an abort that was taken lapse while it waits",
        "celadon.table.rollouts.switch",
        "_switch_back",
        "read_pending(*...)",
        "None",
        (
            (
                "tests/table/rollouts/test_asked_signals.py"
                "::test_a_pending_abort_that_was_signed_counts_after_it_has_ceased_to_be_valid"
            ),
        ),
    ),
    Sabotage(
        15,
        "miss a signal that comes before the refusal",
        "workflows.rollout",
        "BlueGreenRollout._is_held",
        "bool(hold.ended_by) and ...",
        "False",
        ("tests/workflows/test_holds.py::test_an_end_of_a_hold_that_overtakes_the_refusal_is_not_missed",),
    ),
    Sabotage(
        15,
        "charge a freeze to green",
        "celadon.domain.decisions.gate",
        "_HOLDS",
        "RefusalCode.FROZEN",
        "None",
        ("tests/workflows/test_holds.py::test_a_refusal_that_is_not_greens_fault_is_no_regression",),
    ),
    Sabotage(
        15,
        "count whatever is refused against green",
        "celadon.domain.decisions.gate",
        "is_greens_fault",
        "is_refused_for_health and ...",
        "...",
        (
            (
                "tests/domain/decisions/test_gate.py"
                "::test_only_too_few_healthy_greens_that_nobody_scaled_count_against_green"
            ),
        ),
    ),
    Sabotage(
        15,
        "let a timer that is due ask through a hold",
        "celadon.domain.decisions.gate",
        "held",
        "Wait(timers=()) if progress.hold is not None else None",
        "None",
        ("tests/domain/decisions/test_gate.py::test_no_timer_that_is_due_decides_while_the_rollout_is_held",),
    ),
)
