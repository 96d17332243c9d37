#include "roles/new_email.h"

#include "base/bug.h"
#include "base/limits.h"
#include "codec/date.h"
#include "mail/address.h"

enum { STRUCTURE_SENT_MAX = 256 * 1024 };

void new_email_describe(const struct ingest_facts *facts, struct ipc_email *ret_email)
{
    const struct header_facts *header = &facts->header;
    const struct structure *s = facts->structure;
    const struct structure_envelope *envelope = s ? s->parts[0].envelope : NULL;
    bool fits = s && facts->structure_blob.len <= STRUCTURE_SENT_MAX;
    int64_t sent_ms = 0;
    int zone;
    date_parse_mail(header->date, &sent_ms, &zone);
    *ret_email = (struct ipc_email){
        .size = facts->size,
        .parser_version = fits ? STRUCTURE_VERSION : 0,
        .structure = fits ? facts->structure_blob : STR(""),
        .signature = facts->signature,
        .message_id = text_from(header->message_id),
        .in_reply_to = text_from(envelope ? envelope->in_reply_to : STR("")),
        .subject = text_from(header->subject),
        .sent_at_ms = sent_ms,
    };
}

size_t new_email_chunks(struct body_writer *w, struct ipc_chunk *chunks, size_t count_max)
{
    size_t count;
    const struct body_chunk *ready = body_writer_ready(w, &count);
    invariant(count <= count_max);
    for (size_t i = 0; i < count; i++)
        chunks[i] = (struct ipc_chunk){.codec = ready[i].codec,
                                       .key_id = ready[i].key_id,
                                       .plain_size = ready[i].plain_size,
                                       .hash = ready[i].hash,
                                       .data = ready[i].data};
    return count;
}

bool new_email_prefix(struct arena *a, struct str reverse_path, struct str delivered_to,
                      struct str *ret_prefix)
{
    /* "<Postmaster>" has no domain (RFC 5321 §4.1.1.3). */
    bool no_domain = str_find_byte(delivered_to, '@') < 0;
    struct mailbox_address address = {.local = delivered_to};
    struct mailbox_path path = {.is_null = reverse_path.len == 0};
    struct buf out;
    buf_init(&out, 4 * LIMIT_PATH_SIZE + 256);
    bool ok = (path.is_null || address_parse_mailbox(reverse_path, &path.mailbox) == ADDRESS_OK) &&
              (no_domain || address_parse_mailbox(delivered_to, &address) == ADDRESS_OK) &&
              header_put_return_path(&out, &path) && header_put_delivered_to(&out, &address) &&
              arena_dup(a, buf_str(&out), ret_prefix);
    buf_release(&out);
    return ok;
}
