-- From format 1 to format 2: mail for other servers. Format 1's queue never had a writer. What a
-- migration does is never changed again: it makes format 2, whatever schema.sql says later.

DROP TABLE queue;

ALTER TABLE counter ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counter ADD COLUMN held INTEGER NOT NULL DEFAULT 0;

CREATE TABLE outgoing (
    id INTEGER PRIMARY KEY,
    body INTEGER NOT NULL,
    size INTEGER NOT NULL,
    account INTEGER NOT NULL,
    sender BLOB NOT NULL,
    trace_id TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    ret INTEGER NOT NULL,
    body_type INTEGER NOT NULL,
    utf8 INTEGER NOT NULL,
    requiretls INTEGER NOT NULL,
    by_mode INTEGER NOT NULL,
    by_trace INTEGER NOT NULL,
    by_ms INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    envid BLOB NOT NULL,
    prefix BLOB NOT NULL
);
CREATE INDEX outgoing_by_body ON outgoing (body);

CREATE TABLE destination (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    trouble INTEGER NOT NULL,
    bulk INTEGER NOT NULL,
    due_ms INTEGER,
    last_ms INTEGER NOT NULL,
    last_words BLOB NOT NULL
);
CREATE INDEX destination_by_due ON destination (trouble > 0, bulk, due_ms)
    WHERE due_ms IS NOT NULL;

CREATE TABLE queue (
    id INTEGER PRIMARY KEY,
    outgoing INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    attention_ms INTEGER NOT NULL,
    held INTEGER NOT NULL,
    task INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    notify INTEGER NOT NULL,
    noticed INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    recipient BLOB NOT NULL,
    orcpt BLOB NOT NULL,
    last_status TEXT NOT NULL,
    last_words BLOB NOT NULL,
    last_remote BLOB NOT NULL
);
CREATE INDEX queue_by_destination ON queue (destination, lane, due_ms) WHERE held = 0;
CREATE INDEX queue_by_attention ON queue (attention_ms) WHERE held = 0;
CREATE INDEX queue_by_outgoing ON queue (outgoing);
CREATE INDEX queue_held ON queue (destination) WHERE held <> 0;

CREATE TABLE sent (
    account INTEGER NOT NULL,
    day INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) WITHOUT ROWID;

CREATE TABLE sts_policy (
    domain TEXT PRIMARY KEY,
    id BLOB NOT NULL,
    policy BLOB NOT NULL,
    fetched_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tls_result (
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    policy_type INTEGER NOT NULL,
    policy BLOB NOT NULL,
    mx TEXT NOT NULL,
    result TEXT NOT NULL,
    receiving_ip TEXT NOT NULL,
    sending_ip TEXT NOT NULL,
    words BLOB NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy_type, policy, mx, result, receiving_ip, sending_ip)
) WITHOUT ROWID;
