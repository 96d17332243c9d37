-- From format 2 to format 3: what an account has expunged is counted (LIMIT_EXPUNGED_ROW_SIZE, 1024, with
-- each row) and found by account. What a migration does is never changed again.

ALTER TABLE account ADD COLUMN expunged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entry ADD COLUMN expunged_account INTEGER;

UPDATE entry SET expunged_account = (SELECT m.account FROM mailbox m WHERE m.id = entry.mailbox)
    WHERE expunged_ms IS NOT NULL;
CREATE INDEX entry_expunged_of ON entry (expunged_account, expunged_ms)
    WHERE expunged_account IS NOT NULL;
CREATE INDEX mailbox_removed_of ON mailbox (account, removed_ms) WHERE removed_ms IS NOT NULL;

UPDATE account SET expunged =
    (SELECT coalesce(sum(e.size + 1024), 0) FROM entry e WHERE e.expunged_account = account.id) +
    (SELECT coalesce(sum(m.size + 1024 * (m.messages + 1 +
        (SELECT count(*) FROM keyword k WHERE k.mailbox = m.id))), 0)
        FROM mailbox m WHERE m.account = account.id AND m.removed_ms IS NOT NULL)
    WHERE removed_ms IS NULL;
CREATE INDEX account_over ON account (id) WHERE quota > 0 AND expunged > quota;
