-- The raw tables. They are private: readers use the views, which remove what a
-- redelivery or a correction left behind. Why each key and partition is what
-- it is stands in logging/DESIGN.md.

CREATE TABLE IF NOT EXISTS decisions_raw
(
    decision_id        UUID COMMENT 'UUIDv7 minted by the server; orders by time',
    slot               UInt8 COMMENT 'Position on the page, from 1',
    time               DateTime64(6, 'UTC') COMMENT 'When the decision was made (UTC)' CODEC(Delta, ZSTD(1)),
    placement          LowCardinality(String) COMMENT 'Placement that asked, id@version',
    objective          LowCardinality(String) COMMENT 'Objective in force, id@version',
    customer           String COMMENT 'Pseudonym of the customer; never a raw identifier' CODEC(ZSTD(1)),
    source             LowCardinality(String) COMMENT 'live, or the name of the import',
    action             LowCardinality(String) COMMENT 'Selected action; do-nothing is an action',
    treatment          LowCardinality(String) COMMENT 'Variant of the action; empty for do-nothing',
    channel            LowCardinality(String) COMMENT 'Channel of the treatment',
    propensity         Float64 COMMENT 'Probability with which the serving policy selected the action',
    mixture_propensity Float64 COMMENT 'Probability with which the platform as a whole selected it: the mean over arms by share; NaN when unknown',
    eligible           Array(LowCardinality(String)) COMMENT 'Eligible actions in the order of the draw',
    probabilities      Array(Float64) COMMENT 'Probability of each eligible action under the serving policy',
    scores             Array(Float64) COMMENT 'Score of each eligible action after arbitration; empty when the policy has none',
    excluded           Nested
    (
        action LowCardinality(String),
        reason LowCardinality(String),
        detail String
    ) COMMENT 'Actions that were not eligible and why',
    policy             LowCardinality(String) COMMENT 'Serving policy, id@version',
    model              UInt64 COMMENT 'Number of the model under that policy; 0 when the policy has none',
    features           LowCardinality(String) COMMENT 'Feature schema of x, id@version',
    x                  Array(Float32) COMMENT 'Encoded context exactly as it was scored',
    context            String COMMENT 'Canonical JSON {"context":…,"customer":…} without identifiers' CODEC(ZSTD(1)),
    experiment         LowCardinality(String) COMMENT 'Experiment, id@version; empty outside experiments',
    arm                LowCardinality(String) COMMENT 'Arm of the customer, or holdout; empty outside experiments',
    arms               Nested
    (
        arm         LowCardinality(String),
        share       Float64,
        policy      LowCardinality(String),
        model       UInt64,
        probability Float64,
        floor       Float64
    ) COMMENT 'Every arm this customer might have been in',
    floor              Float64 COMMENT 'Least probability an eligible action can get by declaration; 0 when there is none',
    set_aside          Bool COMMENT 'True for rows that are never trained on',
    salt               LowCardinality(String) COMMENT 'Name of the salt of the draw',
    catalogue          UInt64 COMMENT 'Revision of the definitions that decided' CODEC(Delta, ZSTD(1)),
    numerics           LowCardinality(String) COMMENT 'Architecture and numerics version of the scores',
    key                String COMMENT 'Idempotency key of the call; empty when none was given' CODEC(ZSTD(1)),
    body               String COMMENT 'Hash of the request under that key' CODEC(ZSTD(1)),
    journal_position   UInt64 COMMENT 'Position of the journal message that brought the row' CODEC(Delta, ZSTD(1)),
    version            UInt64 COMMENT 'Largest wins: falls with the journal position, so the first report stays' CODEC(Delta, ZSTD(1)),
    INDEX by_time time TYPE minmax GRANULARITY 1,
    INDEX by_customer customer TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_key key TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(UUIDv7ToDateTime(decision_id, 'UTC'))
ORDER BY (toUInt128(decision_id), slot)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, merge_selector_base = 12, min_bytes_for_wide_part = 67108864
COMMENT 'Every decided slot; private, read the view decisions';

CREATE TABLE IF NOT EXISTS impressions_raw
(
    decision_id      UUID COMMENT 'Decision the report is about',
    slot             UInt8 COMMENT 'Slot of that decision, from 1',
    status           LowCardinality(String) COMMENT 'shown, delivered, bounced, not_shown or overridden',
    action           LowCardinality(String) COMMENT 'What was done instead, for overridden',
    time             DateTime64(6, 'UTC') COMMENT 'When it happened (UTC)' CODEC(Delta, ZSTD(1)),
    journal_position UInt64 COMMENT 'Position of the journal message that brought the row' CODEC(Delta, ZSTD(1)),
    version          UInt64 COMMENT 'Largest wins: grows with the journal position, so the newest report stays' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (toUInt128(decision_id), slot)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'What became of decisions; private, read the view impressions';

CREATE TABLE IF NOT EXISTS rewards_raw
(
    reward_id        String COMMENT 'The id the caller gave; the newest report of an id counts' CODEC(ZSTD(1)),
    kind             LowCardinality(String) COMMENT 'Kind of reward, such as purchase',
    value            Float64 COMMENT 'Value in the unit of the kind',
    time             DateTime64(6, 'UTC') COMMENT 'When it happened (UTC)' CODEC(Delta, ZSTD(1)),
    decision_id      UUID COMMENT 'Decision it names; all zero when it names a customer',
    slot             UInt8 COMMENT 'Slot of that decision',
    customer         String COMMENT 'Pseudonym it names; empty when it names a decision' CODEC(ZSTD(1)),
    withdrawn        Bool COMMENT 'True when the caller took the reward back',
    journal_position UInt64 COMMENT 'Position of the journal message that brought the row' CODEC(Delta, ZSTD(1)),
    version          UInt64 COMMENT 'Largest wins: grows with the journal position, so the newest report stays' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY reward_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Newest report of every reward; private, read the view rewards';

CREATE TABLE IF NOT EXISTS reward_reports_raw
(
    reward_id        String COMMENT 'The id the caller gave' CODEC(ZSTD(1)),
    kind             LowCardinality(String) COMMENT 'Kind of reward, such as purchase',
    value            Float64 COMMENT 'Value in the unit of the kind',
    time             DateTime64(6, 'UTC') COMMENT 'When it happened (UTC)' CODEC(Delta, ZSTD(1)),
    decision_id      UUID COMMENT 'Decision it names; all zero when it names a customer',
    slot             UInt8 COMMENT 'Slot of that decision',
    customer         String COMMENT 'Pseudonym it names; empty when it names a decision' CODEC(ZSTD(1)),
    withdrawn        Bool COMMENT 'True when the caller took the reward back',
    journal_position UInt64 COMMENT 'Position of the journal message that brought the row' CODEC(Delta, ZSTD(1)),
    version          UInt64 COMMENT 'Journal position and place within the message: unique for each report' CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Every report of every reward in journal order, so that the log can be read as of a position; private, read the view reward_reports';
