-- The public views: each row once, whatever was delivered twice.

CREATE OR REPLACE VIEW decisions AS
SELECT
    decision_id, slot, time, placement,
    substringIndex(placement, '@', 1) AS placement_id,
    objective, customer, source, action, treatment, channel,
    propensity, mixture_propensity,
    eligible, probabilities, scores,
    `excluded.action`, `excluded.reason`, `excluded.detail`,
    policy, model, features, x, context,
    experiment,
    substringIndex(experiment, '@', 1) AS experiment_id,
    arm,
    `arms.arm`, `arms.share`, `arms.policy`, `arms.model`, `arms.probability`, `arms.floor`,
    floor, set_aside, salt, catalogue, numerics, key, body, journal_position
FROM decisions_raw FINAL
COMMENT 'One row for each decided slot; the first report of an id and slot stays';

CREATE OR REPLACE VIEW impressions AS
SELECT decision_id, slot, status, action, time, journal_position
FROM impressions_raw FINAL
COMMENT 'Newest report of what became of each decided slot';

CREATE OR REPLACE VIEW rewards AS
SELECT reward_id, kind, value, time, decision_id, slot, customer, journal_position
FROM rewards_raw FINAL
WHERE NOT withdrawn
COMMENT 'Newest report of every reward that was not taken back';

CREATE OR REPLACE VIEW reward_reports AS
SELECT reward_id, kind, value, time, decision_id, slot, customer, withdrawn, journal_position
FROM reward_reports_raw FINAL
COMMENT 'Every report of every reward, corrections and withdrawals included';

-- The rewards as they stood when the journal ended at a position: the newest
-- reports that are old enough, and for ids reported again since, the newest of
-- their older reports.
CREATE OR REPLACE VIEW rewards_as_of AS
SELECT reward_id, kind, value, time, decision_id, slot, customer, journal_position
FROM
(
    SELECT reward_id, kind, value, time, decision_id, slot, customer, withdrawn, journal_position
    FROM rewards_raw FINAL
    WHERE journal_position <= {position:UInt64}
    UNION ALL
    SELECT reward_id, kind, value, time, decision_id, slot, customer, withdrawn, journal_position
    FROM
    (
        SELECT *
        FROM reward_reports_raw
        WHERE journal_position <= {position:UInt64}
          AND reward_id IN (SELECT reward_id FROM rewards_raw WHERE journal_position > {position:UInt64})
          AND reward_id NOT IN (SELECT reward_id FROM rewards_raw FINAL WHERE journal_position <= {position:UInt64})
        ORDER BY version DESC
        LIMIT 1 BY reward_id
    )
)
WHERE NOT withdrawn
COMMENT 'Rewards as they stood at a journal position: SELECT … FROM rewards_as_of(position = 123)';

-- Attribution. A reward that names a decision belongs to it when it comes
-- within the window; one that names a customer belongs to the customer's latest
-- decision at or before it, for each placement separately, within the window
-- (of several at one moment, the one with the greatest id is the latest). Both
-- joins keep the rewards in memory and let the decisions pass by; an ASOF JOIN
-- would keep the decisions (measured: five times slower).
CREATE OR REPLACE VIEW attributed_rewards AS
SELECT
    d.decision_id AS decision_id, d.slot AS slot, d.placement_id AS placement_id, d.customer AS customer, d.time AS decision_time,
    r.reward_id AS reward_id, r.kind AS kind, r.value AS value, r.time AS time, 'decision' AS named
FROM (SELECT decision_id, slot, placement_id, customer, time FROM decisions) AS d
INNER JOIN (SELECT * FROM rewards WHERE decision_id != toUUID('00000000-0000-0000-0000-000000000000')) AS r
    ON d.decision_id = r.decision_id AND d.slot = r.slot
WHERE r.time >= d.time AND r.time < d.time + toIntervalSecond({window:UInt32})
UNION ALL
SELECT
    latest.1, latest.2, placement_id, about.1, latest.3,
    reward_id, about.2, about.3, about.4, 'customer'
FROM
(
    SELECT
        d.placement_id AS placement_id, r.reward_id AS reward_id,
        argMax((d.decision_id, d.slot, d.time), (d.time, toUInt128(d.decision_id))) AS latest,
        any((r.customer, r.kind, r.value, r.time)) AS about
    FROM (SELECT decision_id, slot, placement_id, customer, time FROM decisions WHERE slot = 1) AS d
    INNER JOIN (SELECT * FROM rewards WHERE decision_id = toUUID('00000000-0000-0000-0000-000000000000') AND customer != '') AS r
        ON d.customer = r.customer
    WHERE r.time >= d.time AND r.time < d.time + toIntervalSecond({window:UInt32})
    GROUP BY d.placement_id, r.reward_id
)
COMMENT 'Rewards with the decisions they belong to; the window is in seconds: SELECT … FROM attributed_rewards(window = 1209600)';

CREATE OR REPLACE VIEW unmatched_rewards AS
SELECT
    reward_id, kind, value, time, decision_id, slot, customer, journal_position,
    multiIf(
        decision_id != toUUID('00000000-0000-0000-0000-000000000000') AND known = 0, 'unknown_decision',
        decision_id != toUUID('00000000-0000-0000-0000-000000000000'), 'before_decision',
        known = 0, 'unknown_customer',
        'before_first_decision') AS reason
FROM
(
    SELECT r.*, d.known AS known, d.first AS first
    FROM (SELECT * FROM rewards WHERE decision_id != toUUID('00000000-0000-0000-0000-000000000000')) AS r
    LEFT JOIN (SELECT decision_id, slot, 1 AS known, time AS first FROM decisions WHERE decision_id IN (SELECT decision_id FROM rewards_raw)) AS d
        ON r.decision_id = d.decision_id AND r.slot = d.slot
    UNION ALL
    SELECT r.*, d.known, d.first
    FROM (SELECT * FROM rewards WHERE decision_id = toUUID('00000000-0000-0000-0000-000000000000')) AS r
    LEFT JOIN (SELECT customer, 1 AS known, min(time) AS first FROM decisions WHERE customer IN (SELECT customer FROM rewards_raw) GROUP BY customer) AS d
        ON r.customer = d.customer
)
WHERE known = 0 OR time < first
COMMENT 'Rewards that can belong to no decision under any window, with the reason';
