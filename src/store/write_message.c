#include "base/limits.h"
#include "store/body.h"
#include "store/write.h"

/* ---- Bodies ------------------------------------------------------------------------------------
 */

uint64_t body_new(struct writer *w)
{
    return w->next_id++;
}

enum status_code chunk_insert(struct writer *w, uint64_t body, uint64_t number,
                              const struct body_chunk *chunk)
{
    if (number >= BODY_CHUNKS_MAX)
        return STATUS_TOO_BIG;
    struct query *q =
        db_query(w->db, "INSERT INTO chunk (id, codec, key_id, plain_size, hash, data) "
                        "VALUES ($id, $codec, $key_id, $plain_size, $hash, $data)");
    query_bind_int(q, "$id", (int64_t)chunk_id(body, number));
    query_bind_int(q, "$codec", chunk->codec);
    query_bind_int(q, "$key_id", chunk->key_id);
    query_bind_int(q, "$plain_size", chunk->plain_size);
    query_bind_bytes(q, "$hash", chunk->hash);
    query_bind_bytes(q, "$data", chunk->data);
    return query_run(q);
}

enum status_code staging_set(struct writer *w, uint64_t body, uint64_t chunks, uint64_t size)
{
    struct query *q = db_query(w->db, "INSERT INTO staging (body, chunks, size) "
                                      "VALUES ($body, $chunks, $size) ON CONFLICT (body) "
                                      "DO UPDATE SET chunks = $chunks, size = $size");
    query_bind_int(q, "$body", (int64_t)body);
    query_bind_int(q, "$chunks", (int64_t)chunks);
    query_bind_int(q, "$size", (int64_t)size);
    return query_run(q);
}

enum status_code staging_end(struct writer *w, uint64_t body)
{
    struct query *q = db_query(w->db, "DELETE FROM staging WHERE body = $body");
    query_bind_int(q, "$body", (int64_t)body);
    return query_run(q);
}

enum status_code body_remove(struct writer *w, uint64_t body, unsigned *chunks)
{
    struct query *q =
        db_query(w->db, "DELETE FROM chunk WHERE id IN (SELECT id FROM chunk "
                        "WHERE id BETWEEN $first AND $last ORDER BY id LIMIT $chunks)");
    query_bind_int(q, "$first", (int64_t)chunk_id(body, 0));
    query_bind_int(q, "$last", (int64_t)chunk_id(body, BODY_CHUNKS_MAX - 1));
    query_bind_int(q, "$chunks", *chunks);
    enum status_code status = query_run(q);
    if (status == STATUS_OK)
        *chunks -= (unsigned)db_changes(w->db);
    return status;
}

/* ---- Emails ------------------------------------------------------------------------------------
 */

enum status_code email_insert(struct writer *w, const struct email_new *email, uint64_t *ret_email)
{
    uint64_t id = w->next_id++;
    struct query *q = db_query(
        w->db, "INSERT INTO email (id, account, body, size, thread, received_ms, sent_ms, "
               "parser_version, trace_id, message_id, in_reply_to, subject, structure, signature) "
               "VALUES ($id, $account, $body, $size, $id, $received_ms, $sent_ms, $version, "
               "$trace_id, $message_id, $in_reply_to, $subject, $structure, $signature)");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$account", (int64_t)email->account);
    query_bind_int(q, "$body", (int64_t)email->body);
    query_bind_int(q, "$size", (int64_t)email->size);
    query_bind_int(q, "$received_ms", email->received_ms);
    query_bind_int(q, "$sent_ms", email->sent_ms);
    query_bind_int(q, "$version", email->parser_version);
    query_bind_words(q, "$trace_id", email->trace_id);
    text_to_sql(q, "$message_id", email->message_id);
    text_to_sql(q, "$in_reply_to", email->in_reply_to);
    text_to_sql(q, "$subject", email->subject);
    query_bind_bytes(q, "$structure", email->structure);
    query_bind_bytes(q, "$signature", email->signature);
    *ret_email = id;
    return query_run(q);
}

enum status_code email_copy(struct writer *w, uint64_t email, uint64_t account, uint64_t *ret_email)
{
    uint64_t id = w->next_id++;
    struct query *q = db_query(
        w->db, "INSERT INTO email SELECT $id, $account, body, size, $id, received_ms, sent_ms, "
               "parser_version, trace_id, message_id, in_reply_to, subject, structure, signature "
               "FROM email WHERE id = $email");
    query_bind_int(q, "$id", (int64_t)id);
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_int(q, "$email", (int64_t)email);
    *ret_email = id;
    return query_run(q);
}

/* ---- Entries -----------------------------------------------------------------------------------
 */

enum status_code delivery_mailbox(struct writer *w, uint64_t account, uint64_t mailbox,
                                  uint64_t *ret_mailbox)
{
    struct query *q = db_query(
        w->db, "SELECT coalesce((SELECT id FROM mailbox WHERE id = $mailbox AND account = $account "
               "AND removed_ms IS NULL AND selectable <> 0), inbox) FROM account "
               "WHERE id = $account AND disabled = 0 AND removed_ms IS NULL");
    query_bind_int(q, "$account", (int64_t)account);
    query_bind_int(q, "$mailbox", (int64_t)mailbox);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        *ret_mailbox = (uint64_t)query_int(q, 0);
        read = STATUS_OK;
    }
    enum status_code status = query_end(q);
    return status == STATUS_OK ? read : status;
}

static enum status_code take_uid(struct writer *w, const struct entry_new *entry, int64_t size,
                                 struct entry_place *ret_place)
{
    struct query *q = db_query(
        w->db, "UPDATE mailbox SET uidnext = uidnext + 1, modseq = modseq + 1, "
               "messages = messages + 1, unseen = unseen + $unseen, deleted = deleted + $deleted, "
               "size = size + $size WHERE id = $id AND removed_ms IS NULL AND selectable <> 0 "
               "RETURNING account, uidnext - 1, uidvalidity, modseq");
    query_bind_int(q, "$id", (int64_t)entry->mailbox);
    query_bind_int(q, "$unseen", !(entry->flags & ENTRY_SEEN));
    query_bind_int(q, "$deleted", (entry->flags & ENTRY_DELETED) != 0);
    query_bind_int(q, "$size", size);
    enum status_code read = STATUS_NOT_FOUND;
    if (query_next(q)) {
        *ret_place = (struct entry_place){.account = (uint64_t)query_int(q, 0),
                                          .uid = (uint32_t)query_int(q, 1),
                                          .uidvalidity = (uint32_t)query_int(q, 2),
                                          .modseq = (uint64_t)query_int(q, 3)};
        read = STATUS_OK;
    }
    enum status_code status = query_run(q);
    return status == STATUS_OK ? read : status;
}

enum status_code entry_insert(struct writer *w, const struct entry_new *entry,
                              struct entry_place *ret_place)
{
    struct entry_place place = {0};
    int64_t size = (int64_t)(entry->prefix.len + entry->body_size);
    enum status_code status = take_uid(w, entry, size, &place);
    if (status != STATUS_OK)
        return status;
    struct query *q = db_query(
        w->db, "INSERT INTO entry (mailbox, uid, email, flags, modseq, created_modseq, "
               "internal_ms, size, expunged_ms, keywords, prefix) VALUES ($mailbox, $uid, $email, "
               "$flags, $modseq, $modseq, $internal_ms, $size, NULL, $keywords, $prefix)");
    query_bind_int(q, "$mailbox", (int64_t)entry->mailbox);
    query_bind_int(q, "$uid", place.uid);
    query_bind_int(q, "$email", (int64_t)entry->email);
    query_bind_int(q, "$flags", entry->flags);
    query_bind_int(q, "$modseq", (int64_t)place.modseq);
    query_bind_int(q, "$internal_ms", entry->internal_ms);
    query_bind_int(q, "$size", size);
    query_bind_words(q, "$keywords", entry->keywords);
    query_bind_bytes(q, "$prefix", entry->prefix);
    status = query_run(q);
    if (status == STATUS_OK)
        status = account_charge(w, place.account, size, false);
    if (status == STATUS_OK)
        *ret_place = place;
    return status;
}

/* ---- Retransmission, traces
 * ---------------------------------------------------------------------- */

enum status_code unconfirmed_add(struct writer *w, struct str key, int64_t clock_ms,
                                 bool *ret_known)
{
    struct query *q = db_query(w->db, "INSERT INTO unconfirmed (key, at_ms) VALUES ($key, $at_ms) "
                                      "ON CONFLICT (key) DO UPDATE SET at_ms = $at_ms "
                                      "WHERE unconfirmed.at_ms <= $forgotten_ms");
    query_bind_bytes(q, "$key", key);
    query_bind_int(q, "$at_ms", clock_ms);
    query_bind_int(q, "$forgotten_ms", clock_ms - LIMIT_RETRANSMISSION_MS);
    enum status_code status = query_run(q);
    *ret_known = status == STATUS_OK && db_changes(w->db) == 0;
    return status;
}

enum status_code unconfirmed_remove(struct writer *w, struct str key)
{
    struct query *q = db_query(w->db, "DELETE FROM unconfirmed WHERE key = $key");
    query_bind_bytes(q, "$key", key);
    return query_run(q);
}

enum status_code trace_add(struct writer *w, struct str trace_id, int64_t at_ms, struct str step,
                           struct text words)
{
    struct query *q = db_query(w->db, "INSERT INTO trace (id, trace_id, at_ms, step, words) "
                                      "VALUES ($id, $trace_id, $at_ms, $step, $words)");
    query_bind_int(q, "$id", (int64_t)w->next_id++);
    query_bind_words(q, "$trace_id", trace_id);
    query_bind_int(q, "$at_ms", at_ms);
    query_bind_words(q, "$step", step);
    text_to_sql(q, "$words", words);
    return query_run(q);
}
