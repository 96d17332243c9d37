-- Postern's store, format 3. docs/schema.md explains it; store/schema.c applies it.
--
-- Read by SQLite; PostgreSQL takes it with INTEGER as bigint, BLOB as bytea and without the
-- trailing WITHOUT ROWID. Ids come from counter.next_id (one sequence for every kind of thing, so
-- an id in a log names one thing and is never used again), times are Unix milliseconds and come
-- in the operation. Words of strangers are BLOBs: they need not be UTF-8.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- One row, rewritten once a transaction. waiting: rows of queue; held: those of them with held = 1.
CREATE TABLE counter (
    id INTEGER PRIMARY KEY,
    next_id INTEGER NOT NULL,
    commit_number INTEGER NOT NULL,
    uidvalidity INTEGER NOT NULL,
    waiting INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0
);

---- Directory ----------------------------------------------------------------------------------

CREATE TABLE domain (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    catch_all INTEGER NOT NULL DEFAULT 0,
    subaddress TEXT NOT NULL DEFAULT '+',
    created_ms INTEGER NOT NULL
);

-- used: what its messages take; expunged: what those take that are gone for it, but not from here.
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    quota INTEGER NOT NULL DEFAULT 0,
    used INTEGER NOT NULL DEFAULT 0,
    disabled INTEGER NOT NULL DEFAULT 0,
    inbox INTEGER NOT NULL,
    removed_ms INTEGER,
    created_ms INTEGER NOT NULL,
    expunged INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX account_over ON account (id) WHERE quota > 0 AND expunged > quota;

-- An address leads to an account or to an alias, never to both (the other one is 0).
CREATE TABLE address (
    domain INTEGER NOT NULL,
    local TEXT NOT NULL,
    account INTEGER NOT NULL,
    alias INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (domain, local)
) WITHOUT ROWID;
CREATE INDEX address_by_account ON address (account) WHERE account <> 0;

-- The targets of an alias, in the order they were given: addresses, here or elsewhere.
CREATE TABLE alias_target (
    alias INTEGER NOT NULL,
    number INTEGER NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (alias, number)
) WITHOUT ROWID;

---- Mailboxes ----------------------------------------------------------------------------------

-- parent 0 is the top. A deleted mailbox keeps its row (and its entries) until it is purged.
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    modseq INTEGER NOT NULL DEFAULT 1,
    messages INTEGER NOT NULL DEFAULT 0,
    unseen INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    recent_uid INTEGER NOT NULL DEFAULT 1,
    special_use INTEGER NOT NULL DEFAULT 0,
    selectable INTEGER NOT NULL DEFAULT 1,
    parent INTEGER NOT NULL,
    name TEXT NOT NULL,
    removed_ms INTEGER,
    created_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX mailbox_by_name ON mailbox (account, parent, name) WHERE removed_ms IS NULL;
CREATE INDEX mailbox_removed ON mailbox (removed_ms) WHERE removed_ms IS NOT NULL;
CREATE INDEX mailbox_removed_of ON mailbox (account, removed_ms) WHERE removed_ms IS NOT NULL;

-- What somebody who is not the owner may do (RFC 4314 §2.1, bits of enum mailbox_right).
CREATE TABLE mailbox_right (
    account INTEGER NOT NULL,
    mailbox INTEGER NOT NULL,
    rights INTEGER NOT NULL,
    PRIMARY KEY (account, mailbox)
) WITHOUT ROWID;

-- By path: a subscription outlives its mailbox (RFC 3501 §6.3.6).
CREATE TABLE subscription (
    account INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (account, path)
) WITHOUT ROWID;

-- Keywords seen in a mailbox, in the spelling first used.
CREATE TABLE keyword (
    mailbox INTEGER NOT NULL,
    folded TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (mailbox, folded)
) WITHOUT ROWID;

---- Messages -----------------------------------------------------------------------------------

-- Bodies, immutable. id = body * 65536 + number; every chunk but a body's last holds 65536 plain
-- bytes. No migration ever rewrites this table.
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    codec INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    plain_size INTEGER NOT NULL,
    hash BLOB NOT NULL,
    data BLOB NOT NULL
);

-- Bodies that are arriving in pieces and belong to no email yet. Emptied when a vault starts.
CREATE TABLE staging (
    body INTEGER PRIMARY KEY,
    chunks INTEGER NOT NULL,
    size INTEGER NOT NULL
);

-- A message as an account has it. structure and signature are what the parser of parser_version
-- derived from the body; long ones spill behind the rest of the row.
CREATE TABLE email (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    body INTEGER NOT NULL,
    size INTEGER NOT NULL,
    thread INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    sent_ms INTEGER NOT NULL,
    parser_version INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    message_id BLOB NOT NULL,
    in_reply_to BLOB NOT NULL,
    subject BLOB NOT NULL,
    structure BLOB NOT NULL,
    signature BLOB NOT NULL
);
CREATE INDEX email_by_body ON email (body);

-- A message in a mailbox. size counts the prefix and the body; expunged_account: whose it was.
CREATE TABLE entry (
    mailbox INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    email INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    created_modseq INTEGER NOT NULL,
    internal_ms INTEGER NOT NULL,
    size INTEGER NOT NULL,
    expunged_ms INTEGER,
    keywords TEXT NOT NULL,
    prefix BLOB NOT NULL,
    expunged_account INTEGER,
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX entry_by_email ON entry (email);
CREATE INDEX entry_expunged ON entry (expunged_ms) WHERE expunged_ms IS NOT NULL;
CREATE INDEX entry_expunged_of ON entry (expunged_account, expunged_ms)
    WHERE expunged_account IS NOT NULL;

---- The way of a message -----------------------------------------------------------------------

-- A message on its way to other servers. Times are of the store's clock (docs/schema.md), which only
-- runs while time really passes; received_ms is the wall's. expires_ms: what waits then is bounced.
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

-- Where mail goes together: "dns:example.org", "dns-any-tls:example.org" (RFC 8689 §5), "route:NAME",
-- "literal:192.0.2.1". trouble: failures in a row; bulk: all that waits is of lane 2, and has its own turn;
-- due_ms: nobody goes there before. A row lives while something waits for it, and then for some days, for
-- what is known of it.
CREATE TABLE destination (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    trouble INTEGER NOT NULL,
    bulk INTEGER NOT NULL,
    due_ms INTEGER,
    last_ms INTEGER NOT NULL,
    last_words BLOB NOT NULL
);
-- due_ms is NULL where nothing waits.
CREATE INDEX destination_by_due ON destination (trouble > 0, bulk, due_ms)
    WHERE due_ms IS NOT NULL;

-- A recipient that waits. lane: 0 urgent, 1 usual, 2 a sender with very much mail (policy/lane.h), each
-- taken in turn. attention_ms: when it expires, or a delay notice is due, whatever its destination does.
-- task as in ipc.table's job_recipient.
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

-- Recipients elsewhere that somebody has written to on a day (days of the store's clock). account:
-- below 0 it is a user of this machine, -1 - uid.
CREATE TABLE sent (
    account INTEGER NOT NULL,
    day INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    PRIMARY KEY (account, day)
) WITHOUT ROWID;

-- MTA-STS policies seen (RFC 8461).
CREATE TABLE sts_policy (
    domain TEXT PRIMARY KEY,
    id BLOB NOT NULL,
    policy BLOB NOT NULL,
    fetched_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Sessions of a day (UTC), counted for TLS reports (RFC 8460 §4). result is empty for success.
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

-- Accepted, but the client has not shown yet that the 250 reached it (RFC 1047).
CREATE TABLE unconfirmed (
    key BLOB PRIMARY KEY,
    at_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- What happened to a message, step by step.
CREATE TABLE trace (
    id INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    step TEXT NOT NULL,
    words BLOB NOT NULL
);
CREATE INDEX trace_by_trace_id ON trace (trace_id);
