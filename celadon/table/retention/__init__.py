"""What goes when it has had its time: by the keeper now and then, and by ``celadon db prune``.

Of each table (docs/retention.md says the same for operators):

=================== ==================================================================================================
rollouts            ended longer ago than ``event_retention``, with no set that still exists and nothing to deliver;
                    the newest promoted ones of a deployment stay, since a rollback may go back to them
rollout_events      with their rollout, all or none; those of no rollout by their own age
route_sets, routes  with their rollout; replicas that ended longer ago also while their set lives on
revisions           beyond the newest ``revision_history_limit``, when no rollout and no set names them
router_load         when the set is gone; ``member_load`` when the replica has ended
schedules           that fire once: ``event_retention`` after that, and not before Temporal has removed its own
spent_requests      of rollouts that have ended, by their age, which is far beyond the validity of any signature
refused_decisions   with their rollout
notifications       of rollouts that have ended, by their age, with ``deliveries``, unless one still waits
deployments         destroyed, and nothing of them is left; with them ``router_acks``
routers             unseen for longer, and no longer enrolled or with an expired certificate; with ``router_acks``
router_events       by their age
api_tokens          expired or revoked longer ago, with their console sessions
console_sessions    a day after they expired, also with each new session; ``console_logins`` likewise
api_requests        a day after they came, also with each new request that has an id
outbox              each message when Temporal has taken it, by the keeper's courier: never here
keepers, pruning    one row; ``notify_targets`` have as many as operators add
=================== ==================================================================================================
"""
