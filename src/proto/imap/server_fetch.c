#include <inttypes.h>

#include "base/bug.h"
#include "base/limits.h"
#include "codec/date.h"
#include "proto/imap/engine.h"
#include "proto/imap/fetch.h"
#include "proto/imap/reply.h"

/*
 * FETCH (RFC 3501 §6.4.5). Where only facts are asked for, messages come in slices and each is
 * written at once. Where octets are asked for, messages are taken one by one: its facts, the
 * \Seen flag where it must be set, then each section, the octets in pieces as the output has room.
 */

enum { PIECE_SIZE = 32 * 1024, STRUCTURES_AT_ONCE = 32 };

enum phase { NEXT_MESSAGE, SET_SEEN, OPEN_LINE, NEXT_SECTION, READ_HEADER, READ_OCTETS };

struct fetch_args {
    struct fetch_request request;
    unsigned need;
    enum imap_code failure; /* what could not be served; the rest was */
    enum phase phase;
    struct arena arena; /* of the message at hand */
    struct imap_message message;
    struct structure structure;
    bool has_structure;
    bool flags_changed;
    struct fetch_section *section;
    struct buf header; /* the block that HEADER.FIELDS looks at */
    uint64_t offset;   /* octets still to be written, or the header's */
    uint64_t left;
    bool introduced; /* the literal has been begun */
};

static unsigned need_of(const struct fetch_request *r)
{
    unsigned need = 0;
    if (r->items & FETCH_FLAGS)
        need |= IMAP_NEED_FLAGS;
    if (r->items & (FETCH_INTERNALDATE | FETCH_SIZE))
        need |= IMAP_NEED_META;
    if (r->items & (FETCH_ENVELOPE | FETCH_BODY | FETCH_BODYSTRUCTURE))
        need |= IMAP_NEED_STRUCTURE;
    for (const struct fetch_section *s = r->sections; s; s = s->next) {
        need |= IMAP_NEED_FLAGS | IMAP_NEED_META;
        if (s->kind != SECTION_BODY || s->path_len)
            need |= IMAP_NEED_STRUCTURE;
    }
    return need;
}

static void release(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    arena_reset(&args->arena);
    buf_release(&args->header);
}

/* fetch = "FETCH" SP sequence-set SP items */
bool imap_parse_fetch(struct imap_server *e, struct imap_cursor *c)
{
    struct fetch_args *args = imap_alloc(e, sizeof *args);
    if (!args || !imap_need_space(c) || !imap_parse_messages(e, c) || !imap_need_space(c) ||
        !imap_parse_fetch_items(c, &args->request))
        return false;
    if (e->run.uid)
        args->request.items |= FETCH_UID; /* RFC 3501 §6.4.8 */
    args->need = need_of(&args->request);
    arena_init(&args->arena, IMAP_ARENA_BUDGET);
    buf_init(&args->header, LIMIT_HEADER_SIZE);
    e->run.args = args;
    e->run.release = release;
    return true;
}

/* ---- facts ---- */

static void put_item(struct buf *out, const char **gap, const char *name)
{
    buf_printf(out, "%s%s ", *gap, name);
    *gap = " ";
}

static void put_small_items(struct imap_server *e, const struct imap_message *m, unsigned items,
                            const char **gap)
{
    struct buf *out = &e->out;
    uint32_t recent_from = e->view->recent_from;
    if (items & FETCH_UID) {
        put_item(out, gap, "UID");
        buf_printf(out, "%" PRIu32, m->uid);
    }
    if (items & FETCH_FLAGS) {
        put_item(out, gap, "FLAGS");
        imap_put_flags(out, m->flags, m->keywords, recent_from && m->uid >= recent_from);
    }
    if (items & FETCH_INTERNALDATE) {
        put_item(out, gap, "INTERNALDATE");
        buf_append_byte(out, '"');
        date_format_imap(out, m->internal_ms, 0);
        buf_append_byte(out, '"');
    }
    if (items & FETCH_SIZE) {
        put_item(out, gap, "RFC822.SIZE");
        buf_printf(out, "%" PRIu64, m->size);
    }
}

static void put_structure_items(struct buf *out, const struct structure *s, unsigned items,
                                const char **gap)
{
    if (items & FETCH_ENVELOPE) {
        put_item(out, gap, "ENVELOPE");
        imap_put_envelope(out, s->parts[0].envelope);
    }
    if (items & FETCH_BODY) {
        put_item(out, gap, "BODY");
        imap_put_bodystructure(out, s, false);
    }
    if (items & FETCH_BODYSTRUCTURE) {
        put_item(out, gap, "BODYSTRUCTURE");
        imap_put_bodystructure(out, s, true);
    }
}

/* "* n FETCH (" and all but the sections. */
static void put_facts(struct imap_server *e, const struct imap_message *m,
                      const struct structure *s, unsigned items, const char **gap)
{
    buf_printf(&e->out, "* %" PRIu32 " FETCH (", imap_view_seq(e->view, m->uid));
    put_small_items(e, m, items, gap);
    if (s)
        put_structure_items(&e->out, s, items, gap);
}

/* True where the stored structure can be used, or none is asked for. */
static bool decode(struct fetch_args *args, struct str blob)
{
    args->has_structure = args->need & IMAP_NEED_STRUCTURE;
    if (!args->has_structure)
        return true;
    if (structure_decode(blob, &args->arena, &args->structure) == STATUS_OK)
        return true;
    args->failure = IMAP_SERVERBUG;
    return false;
}

/* What passes the ceiling of the output is taken back, and said at the end. */
static bool take_back(struct imap_server *e, size_t start)
{
    struct fetch_args *args = e->run.args;
    if (!e->out.failed)
        return false;
    buf_truncate(&e->out, start);
    e->out.failed = false;
    args->failure = IMAP_LIMIT;
    return true;
}

static void put_message(struct imap_server *e, const struct imap_message *m)
{
    struct fetch_args *args = e->run.args;
    const char *gap = "";
    size_t start = e->out.len;
    arena_reset(&args->arena);
    if (!imap_view_seq(e->view, m->uid) || !decode(args, m->structure))
        return;
    put_facts(e, m, args->has_structure ? &args->structure : NULL, args->request.items, &gap);
    buf_append_str(&e->out, STR(")\r\n"));
    take_back(e, start);
}

static void put_messages(struct imap_server *e, const struct imap_message *messages, size_t count,
                         uint32_t through)
{
    for (size_t i = 0; i < count; i++) {
        put_message(e, &messages[i]);
        /* The rest is asked for again: large ones must not use up the room of others. */
        if (!imap_has_room(e) && i + 1 < count) {
            through = messages[i].uid;
            count = i + 1;
        }
    }
    imap_slice_done(e, count, through);
}

static bool ask_for_messages(struct imap_server *e, size_t count_max)
{
    const struct fetch_args *args = e->run.args;
    struct imap_set set;
    if (!imap_next_slice(e, count_max, &set))
        return false;
    struct imap_event *q = imap_ask(e, IMAP_EVENT_FETCH);
    q->fetch.set = set;
    q->fetch.need = args->need;
    return true;
}

static bool finish(struct imap_server *e)
{
    const struct fetch_args *args = e->run.args;
    return imap_finish(e, args->failure);
}

/* True once all UIDs of the set have been written. */
static bool put_uids(struct imap_server *e)
{
    struct imap_set set;
    while (imap_next_slice(e, IMAP_SLICE, &set)) {
        if (!imap_has_room(e))
            return false;
        for (size_t i = 0; i < set.count; i++)
            for (uint64_t uid = set.ranges[i].first; uid <= set.ranges[i].last; uid++)
                buf_printf(&e->out, "* %" PRIu32 " FETCH (UID %" PRIu64 ")\r\n",
                           imap_view_seq(e->view, (uint32_t)uid), uid);
        e->run.done_uid = set.ranges[set.count - 1].last;
    }
    return true;
}

/* Asks for no more than has room, so that output stays bounded. */
static bool step_facts(struct imap_server *e)
{
    const struct fetch_args *args = e->run.args;
    if (e->run.answer != IMAP_OK)
        return imap_finish(e, e->run.answer);
    e->run.on_messages = put_messages;
    if (!args->need)
        return put_uids(e) ? finish(e) : false; /* UID alone: the view knows them */
    bool heavy = args->need & IMAP_NEED_STRUCTURE;
    return ask_for_messages(e, heavy ? STRUCTURES_AT_ONCE : IMAP_SLICE) ? false : finish(e);
}

/* ---- one message with octets ---- */

static void take_message(struct imap_server *e, const struct imap_message *messages, size_t count,
                         uint32_t through)
{
    struct fetch_args *args = e->run.args;
    struct str blob;
    imap_slice_done(e, count, through);
    arena_reset(&args->arena);
    if (count == 0)
        return;
    args->phase = NEXT_MESSAGE;
    args->message = messages[0];
    if (!arena_dup(&args->arena, messages[0].keywords, &args->message.keywords) ||
        !arena_dup(&args->arena, messages[0].structure, &blob)) {
        args->failure = IMAP_LIMIT;
        return;
    }
    if (decode(args, blob))
        args->phase = SET_SEEN;
}

static void take_seen(struct imap_server *e, const struct imap_message *messages, size_t count)
{
    struct fetch_args *args = e->run.args;
    if (count == 0 || messages[0].uid != args->message.uid)
        return;
    args->message.flags = messages[0].flags;
    args->flags_changed = true;
}

/* RFC 3501 §6.4.5: the client is told of the flag that its reading sets. */
static bool set_seen(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    args->phase = OPEN_LINE;
    args->flags_changed = false;
    if (!args->request.sets_seen || e->view->read_only || (args->message.flags & IMAP_SEEN))
        return true;
    struct imap_event *q = imap_ask(e, IMAP_EVENT_STORE);
    q->store.set = (struct imap_set){e->run.slice, e->run.slice_count};
    q->store.mode = IMAP_STORE_ADD;
    q->store.flags = IMAP_SEEN;
    e->run.on_store = take_seen;
    return false;
}

static bool open_line(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    const char *gap = "";
    size_t start = e->out.len;
    unsigned items = args->request.items | (args->flags_changed ? FETCH_FLAGS : 0u);
    put_facts(e, &args->message, args->has_structure ? &args->structure : NULL, items, &gap);
    if (*gap)
        buf_append_str(&e->out, STR(" "));
    args->section = args->request.sections;
    args->phase = take_back(e, start) ? NEXT_MESSAGE : NEXT_SECTION;
    return true;
}

/* Where the section lies in the message as served, whose prefix belongs to the outermost header. */
static bool locate(const struct fetch_args *args, uint64_t *ret_offset, uint64_t *ret_size)
{
    const struct fetch_section *s = args->section;
    uint64_t prefix = args->message.prefix_size;
    uint64_t offset, size;
    if (s->kind == SECTION_BODY && !s->path_len) {
        *ret_offset = 0;
        *ret_size = args->message.size;
        return true;
    }
    if (!structure_section(&args->structure, s->path, s->path_len, s->kind, &offset, &size))
        return false;
    bool outermost = s->kind == SECTION_HEADER && !s->path_len;
    offset += outermost ? 0 : prefix;
    size += outermost ? prefix : 0;
    if (offset > args->message.size || size > args->message.size - offset)
        return false; /* the structure is not this message's */
    *ret_offset = offset;
    *ret_size = size;
    return true;
}

static void cut_partial(const struct fetch_section *s, uint64_t *offset, uint64_t *size)
{
    if (!s->is_partial)
        return;
    uint64_t from = s->partial_from < *size ? s->partial_from : *size;
    *offset += from;
    *size -= from;
    if (*size > s->partial_size)
        *size = s->partial_size;
}

static void end_section(struct fetch_args *args)
{
    args->section = args->section->next;
    args->phase = NEXT_SECTION;
}

static void put_nil(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    imap_put_section_name(&e->out, args->section);
    buf_append_str(&e->out, args->section->next ? STR(" NIL ") : STR(" NIL"));
    end_section(args);
}

static bool next_section(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    struct fetch_section *s = args->section;
    if (!s) {
        buf_append_str(&e->out, STR(")\r\n"));
        args->phase = NEXT_MESSAGE;
        return true;
    }
    if (!locate(args, &args->offset, &args->left)) {
        put_nil(e);
        return true;
    }
    if (!s->only_fields && !s->except_fields) {
        cut_partial(s, &args->offset, &args->left);
        args->introduced = false;
        args->phase = READ_OCTETS;
        return true;
    }
    if (args->left > LIMIT_HEADER_SIZE)
        args->left = LIMIT_HEADER_SIZE;
    /* Read again for each: between two of them, which may be many, others get their turn. */
    buf_clear(&args->header);
    args->phase = READ_HEADER;
    return true;
}

static bool ask_for_octets(struct imap_server *e, uint64_t offset, uint64_t size)
{
    const struct fetch_args *args = e->run.args;
    struct imap_event *q = imap_ask(e, IMAP_EVENT_BODY);
    q->body.uid = args->message.uid;
    q->body.offset = offset;
    q->body.size = size < PIECE_SIZE ? (size_t)size : PIECE_SIZE;
    return false;
}

static bool read_header(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    struct fetch_section *s = args->section;
    uint64_t have = args->header.len;
    if (have < args->left)
        return ask_for_octets(e, args->offset + have, args->left - have);
    struct buf fields;
    uint64_t from = 0;
    buf_init(&fields, LIMIT_HEADER_SIZE + 2);
    imap_filter_header(&fields, s, buf_str(&args->header));
    uint64_t size = fields.len;
    cut_partial(s, &from, &size);
    imap_put_section_name(&e->out, s);
    buf_printf(&e->out, " {%" PRIu64 "}\r\n", size);
    buf_append_str(&e->out, str_sub(buf_str(&fields), (size_t)from, (size_t)size));
    if (s->next)
        buf_append_byte(&e->out, ' ');
    buf_release(&fields);
    end_section(args);
    return true;
}

static void introduce(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    if (args->introduced)
        return;
    args->introduced = true;
    imap_put_section_name(&e->out, args->section);
    buf_printf(&e->out, " {%" PRIu64 "}\r\n", args->left);
}

static bool read_octets(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    if (args->left)
        return ask_for_octets(e, args->offset, args->left);
    introduce(e);
    if (args->section->next)
        buf_append_byte(&e->out, ' ');
    end_section(args);
    return true;
}

void imap_answer_body(struct imap_server *e, uint64_t token, struct str octets)
{
    size_t asked = e->question.body.size;
    if (!imap_answered(e, token, IMAP_EVENT_BODY))
        return;
    struct fetch_args *args = e->run.args;
    invariant(octets.len > 0 && octets.len <= asked);
    if (args->phase == READ_HEADER) {
        if (!buf_append_str(&args->header, octets))
            imap_bye(e, "Out of memory");
    } else {
        introduce(e);
        buf_append_str(&e->out, octets);
        args->offset += octets.len;
        args->left -= octets.len;
    }
    imap_advance(e);
}

/* What was begun cannot be taken back: a literal that stays short can only end in a close. */
static bool octets_failed(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    args->failure = e->run.answer;
    e->run.answer = IMAP_OK;
    if (args->phase == READ_OCTETS && args->introduced) {
        imap_close(e);
        return false;
    }
    put_nil(e);
    return true;
}

static bool step_octets(struct imap_server *e)
{
    struct fetch_args *args = e->run.args;
    bool failed = e->run.answer != IMAP_OK;
    switch (args->phase) {
    case NEXT_MESSAGE:
        if (failed)
            return imap_finish(e, e->run.answer);
        e->run.on_messages = take_message;
        return ask_for_messages(e, 1) ? false : finish(e);
    case SET_SEEN:
        return set_seen(e);
    case OPEN_LINE:
        e->run.answer = IMAP_OK; /* a flag that could not be set keeps nobody from reading */
        return open_line(e);
    case NEXT_SECTION:
        return next_section(e);
    case READ_HEADER:
        return failed ? octets_failed(e) : read_header(e);
    case READ_OCTETS:
        return failed ? octets_failed(e) : read_octets(e);
    }
    bug("no such phase");
}

bool imap_step_fetch(struct imap_server *e)
{
    const struct fetch_args *args = e->run.args;
    e->run.step = args->request.sections ? step_octets : step_facts;
    return true;
}
