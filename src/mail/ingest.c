#include "mail/ingest.h"

#include <stdlib.h>

#include "base/limits.h"
#include "mail/search.h"
#include "mail/transcript.h"

enum { BLOB_SIZE_MAX = 4 * 1024 * 1024 };

struct ingest {
    uint64_t size;
    struct transcript transcript;
    struct signature_builder signature;
    struct buf header; /* the message's own, as it came */
    struct header_facts facts;
    bool has_facts;
    bool only_header;
    struct buf structure_blob;
    struct buf signature_set;
    bool failed;
};

static void start(struct ingest *in)
{
    in->size = 0;
    in->facts = (struct header_facts){0};
    in->has_facts = in->only_header = in->failed = false;
    transcript_init(&in->transcript);
    signature_init(&in->signature);
}

struct ingest *ingest_new(void)
{
    struct ingest *in = malloc(sizeof *in);
    if (!in)
        return NULL;
    buf_init(&in->header, LIMIT_HEADER_SIZE);
    buf_init(&in->structure_blob, BLOB_SIZE_MAX);
    buf_init(&in->signature_set, SIGNATURE_SIZE_MAX);
    start(in);
    return in;
}

void ingest_free(struct ingest *in)
{
    if (!in)
        return;
    transcript_release(&in->transcript);
    signature_release(&in->signature);
    buf_release(&in->header);
    buf_release(&in->structure_blob);
    buf_release(&in->signature_set);
    free(in);
}

void ingest_reset(struct ingest *in)
{
    transcript_release(&in->transcript);
    signature_release(&in->signature);
    buf_clear(&in->header);
    buf_clear(&in->structure_blob);
    buf_clear(&in->signature_set);
    start(in);
}

void ingest_only_header(struct ingest *in)
{
    in->only_header = true;
}

static void read_facts(struct ingest *in)
{
    header_facts_of(buf_str(&in->header), &in->facts);
    in->has_facts = true;
}

/* An empty line: at the start, or behind a line end that stands at `from` or later. */
static bool has_empty_line(struct str block, size_t from)
{
    struct str rest = str_skip(block, from);
    if (str_starts(block, STR("\r\n")) || str_starts(block, STR("\n")))
        return true;
    for (ptrdiff_t at; (at = str_find_byte(rest, '\n')) >= 0;) {
        rest = str_skip(rest, (size_t)at + 1);
        if (str_starts(rest, STR("\r\n")) || str_starts(rest, STR("\n")))
            return true;
    }
    return false;
}

/* What is behind the empty line comes along, and does not matter: header_facts_of stops there. */
static void take_header(struct ingest *in, struct str bytes)
{
    size_t before = in->header.len;
    struct str part = str_sub(bytes, 0, LIMIT_HEADER_SIZE - before);
    in->failed |= !buf_append_str(&in->header, part);
    if (in->header.len == LIMIT_HEADER_SIZE ||
        has_empty_line(buf_str(&in->header), before < 2 ? 0 : before - 2))
        read_facts(in);
}

static void see(struct ingest *in, const struct transcript_event *event)
{
    if (event->is_header && event->part == 0) {
        in->failed |= !buf_append_str(&in->header, event->header);
        read_facts(in);
    }
    if (event->begins)
        signature_gap(&in->signature);
    signature_add(&in->signature, event->text);
}

void ingest_write(struct ingest *in, struct str bytes)
{
    struct transcript_event event;
    in->size += bytes.len;
    if (in->only_header) {
        if (!in->has_facts)
            take_header(in, bytes);
        return;
    }
    while (transcript_next(&in->transcript, &bytes, &event))
        see(in, &event);
}

const struct header_facts *ingest_header(const struct ingest *in)
{
    return in->has_facts ? &in->facts : NULL;
}

static enum status_code finish_header(struct ingest *in, struct ingest_facts *ret_facts)
{
    if (!in->has_facts)
        read_facts(in);
    if (in->failed)
        return STATUS_NO_MEMORY;
    *ret_facts = (struct ingest_facts){.size = in->size, .header = in->facts};
    return STATUS_OK;
}

enum status_code ingest_finish(struct ingest *in, struct ingest_facts *ret_facts)
{
    if (in->only_header)
        return finish_header(in, ret_facts);
    struct transcript_event event;
    const struct structure *structure;
    while (transcript_end(&in->transcript, &event))
        see(in, &event);
    if (in->failed || in->transcript.failed ||
        mime_structure(&in->transcript.mime, &structure) != STATUS_OK ||
        !structure_encode(structure, &in->structure_blob) ||
        !signature_finish(&in->signature, &in->signature_set))
        return STATUS_NO_MEMORY;
    *ret_facts = (struct ingest_facts){
        .size = in->size,
        .header = in->facts,
        .structure = structure,
        .structure_blob = buf_str(&in->structure_blob),
        .signature = buf_str(&in->signature_set),
    };
    return STATUS_OK;
}

/* ---- looking ---- */

struct message_search {
    struct transcript transcript;
    struct search_matcher matcher;
    enum search_scope scope;
};

struct message_search *message_search_new(const struct search_needle *needle,
                                          enum search_scope scope)
{
    struct message_search *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    s->scope = scope;
    transcript_init(&s->transcript);
    matcher_init(&s->matcher, needle);
    return s;
}

void message_search_free(struct message_search *s)
{
    if (!s)
        return;
    transcript_release(&s->transcript);
    matcher_release(&s->matcher);
    free(s);
}

static bool look(struct message_search *s, const struct transcript_event *event)
{
    if (event->begins)
        matcher_gap(&s->matcher);
    if (event->is_header && s->scope == SEARCH_BODY)
        return s->matcher.found; /* RFC 9051 §6.4.4: BODY does not match any header fields */
    return matcher_add(&s->matcher, event->text);
}

bool message_search_write(struct message_search *s, struct str bytes)
{
    struct transcript_event event;
    while (!s->matcher.found && transcript_next(&s->transcript, &bytes, &event))
        look(s, &event);
    return s->matcher.found;
}

bool message_search_finish(struct message_search *s)
{
    struct transcript_event event;
    while (!s->matcher.found && transcript_end(&s->transcript, &event))
        look(s, &event);
    return matcher_gap(&s->matcher);
}
