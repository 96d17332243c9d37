#include <inttypes.h>

#include "codec/date.h"
#include "mail/structure.h"
#include "proto/imap/engine.h"
#include "proto/imap/search.h"

/*
 * SEARCH (RFC 3501 §6.4.4), in slices of messages. In each: the records, where a key needs them;
 * then one question for each text key, about those messages of the slice that still depend on it;
 * then the numbers of those that match. The untagged response stays open until the last slice.
 */

struct search_args {
    struct search_program program;
    struct arena arena; /* for decoding structures */
    uint32_t *uids;     /* of the slice */
    size_t count;
    uint8_t *truths;  /* leaf x message */
    size_t next_leaf; /* to be asked about; leaf_count: none */
    bool has_records;
    struct imap_range *asked; /* in the question about text */
    size_t asked_count;
};

static void release(struct imap_server *e)
{
    struct search_args *args = e->run.args;
    arena_reset(&args->arena);
}

/* All there is, or what the first set says where sets and other keys must hold together. */
static bool choose_candidates(struct imap_server *e, const struct search_program *program)
{
    const struct search_node *key = program->root->child;
    while (key && key->op != SEARCH_SET)
        key = key->next;
    struct imap_range all = {1, UINT32_MAX};
    if (!key)
        return imap_view_pick_uids(e->view, all, &e->run.set);
    for (size_t i = 0; i < key->set.count; i++)
        if (!imap_rangeset_add(&e->run.set, key->set.ranges[i]))
            return false;
    return true;
}

/* search = "SEARCH" SP [charset] keys */
bool imap_parse_search(struct imap_server *e, struct imap_cursor *c)
{
    struct search_args *args = imap_alloc(e, sizeof *args);
    if (!args || !imap_need_space(c) || !imap_search_parse(e, c, &args->program))
        return false;
    arena_init(&args->arena, IMAP_ARENA_BUDGET);
    e->run.args = args;
    e->run.release = release;
    return true;
}

static uint8_t *truths_of(const struct search_args *args, size_t leaf)
{
    return args->truths + leaf * IMAP_SLICE;
}

static enum search_truth truth_of_message(const struct search_args *args, size_t i)
{
    return imap_search_evaluate(args->program.root, args->truths + i, IMAP_SLICE);
}

/* ---- a slice ---- */

static void list_uids(struct imap_server *e)
{
    struct search_args *args = e->run.args;
    args->count = 0;
    for (size_t i = 0; i < e->run.slice_count; i++)
        for (uint64_t uid = e->run.slice[i].first; uid <= e->run.slice[i].last; uid++)
            args->uids[args->count++] = (uint32_t)uid;
    memset(args->truths, SEARCH_UNKNOWN, args->program.leaf_count * IMAP_SLICE);
    args->next_leaf = 0;
}

static void decide_leaves(struct imap_server *e, size_t i, const struct search_facts *facts)
{
    struct search_args *args = e->run.args;
    for (size_t leaf = 0; leaf < args->program.leaf_count; leaf++) {
        const struct search_node *node = args->program.leaves[leaf];
        if (node->op != SEARCH_TEXT)
            truths_of(args, leaf)[i] = imap_search_decide(node, facts) ? SEARCH_TRUE : SEARCH_FALSE;
    }
}

static bool is_recent(const struct imap_server *e, uint32_t uid)
{
    return e->view->recent_from && uid >= e->view->recent_from;
}

/* The day of the Date field in its own zone (RFC 3501 §6.4.4: zone and time do not count). */
static void find_sent_day(struct imap_server *e, struct str blob, struct search_facts *facts)
{
    struct search_args *args = e->run.args;
    struct structure structure;
    int64_t ms;
    int zone;
    arena_reset(&args->arena);
    if (structure_decode(blob, &args->arena, &structure) != STATUS_OK)
        return;
    facts->has_sent_day = date_parse_mail(structure.parts[0].envelope->date, &ms, &zone);
    if (!facts->has_sent_day)
        return;
    ms += (int64_t)zone * 60 * 1000;
    facts->sent_day = ms / 86400000 - (ms % 86400000 < 0);
}

/* Messages without a record are gone: they leave the slice. */
static void take_records(struct imap_server *e, const struct imap_message *messages, size_t count,
                         uint32_t through)
{
    struct search_args *args = e->run.args;
    imap_slice_done(e, count, through);
    args->count = 0;
    for (size_t i = 0; i < count && i < IMAP_SLICE; i++) {
        struct search_facts facts = {.message = &messages[i],
                                     .is_recent = is_recent(e, messages[i].uid)};
        if (args->program.need & IMAP_NEED_STRUCTURE)
            find_sent_day(e, messages[i].structure, &facts);
        args->uids[args->count] = messages[i].uid;
        decide_leaves(e, args->count++, &facts);
    }
    args->has_records = true;
}

static void decide_without_records(struct imap_server *e)
{
    struct search_args *args = e->run.args;
    for (size_t i = 0; i < args->count; i++) {
        struct imap_message m = {.uid = args->uids[i]};
        struct search_facts facts = {.message = &m, .is_recent = is_recent(e, m.uid)};
        decide_leaves(e, i, &facts);
    }
    e->run.done_uid = args->uids[args->count - 1];
    args->has_records = true;
}

/* ---- text ---- */

/* Gathers the messages that the leaf may still decide. */
static void list_undecided(struct search_args *args)
{
    args->asked_count = 0;
    for (size_t i = 0; i < args->count; i++) {
        uint32_t uid = args->uids[i];
        if (truth_of_message(args, i) != SEARCH_UNKNOWN)
            continue;
        if (args->asked_count && args->asked[args->asked_count - 1].last + 1 == uid)
            args->asked[args->asked_count - 1].last = uid;
        else
            args->asked[args->asked_count++] = (struct imap_range){uid, uid};
    }
}

/* False: nothing of the slice depends on text any more. */
static bool ask_about_text(struct imap_server *e)
{
    struct search_args *args = e->run.args;
    while (args->next_leaf < args->program.leaf_count &&
           args->program.leaves[args->next_leaf]->op != SEARCH_TEXT)
        args->next_leaf++;
    list_undecided(args);
    if (args->next_leaf == args->program.leaf_count || !args->asked_count)
        return false;
    struct imap_event *q = imap_ask(e, IMAP_EVENT_SEARCH_TEXT);
    q->search.set = (struct imap_set){args->asked, args->asked_count};
    q->search.key = &args->program.leaves[args->next_leaf]->key;
    return true;
}

void imap_answer_search(struct imap_server *e, uint64_t token, const uint32_t *uids, size_t count)
{
    if (!imap_answered(e, token, IMAP_EVENT_SEARCH_TEXT))
        return;
    struct search_args *args = e->run.args;
    struct imap_set asked = {args->asked, args->asked_count};
    uint8_t *truths = truths_of(args, args->next_leaf++);
    size_t at = 0;
    for (size_t i = 0; i < args->count; i++) {
        while (at < count && uids[at] < args->uids[i])
            at++;
        if (imap_set_contains(asked, args->uids[i]))
            truths[i] = at < count && uids[at] == args->uids[i] ? SEARCH_TRUE : SEARCH_FALSE;
    }
    imap_advance(e);
}

/* ---- the whole ---- */

static void put_matches(struct imap_server *e)
{
    const struct search_args *args = e->run.args;
    for (size_t i = 0; i < args->count; i++) {
        uint32_t uid = args->uids[i];
        if (truth_of_message(args, i) == SEARCH_TRUE)
            buf_printf(&e->out, " %" PRIu32, e->run.uid ? uid : imap_view_seq(e->view, uid));
    }
}

static bool finish(struct imap_server *e)
{
    buf_append_str(&e->out, STR("\r\n"));
    return imap_finish(e, e->run.answer);
}

static bool begin_slice(struct imap_server *e)
{
    struct search_args *args = e->run.args;
    struct imap_set set;
    args->has_records = false;
    args->count = 0;
    if (!imap_next_slice(e, IMAP_SLICE, &set))
        return false;
    list_uids(e);
    if (!args->program.need) {
        decide_without_records(e);
        return true;
    }
    struct imap_event *q = imap_ask(e, IMAP_EVENT_FETCH);
    q->fetch.set = set;
    q->fetch.need = args->program.need;
    e->run.on_messages = take_records;
    return true;
}

static bool step_slice(struct imap_server *e)
{
    struct search_args *args = e->run.args;
    if (e->run.answer != IMAP_OK)
        return finish(e);
    if (args->has_records) {
        if (ask_about_text(e))
            return false;
        put_matches(e);
    }
    return begin_slice(e) || finish(e);
}

bool imap_step_search(struct imap_server *e)
{
    struct search_args *args = e->run.args;
    if (args->program.bad_charset)
        return imap_finish(e, IMAP_BADCHARSET);
    args->uids = imap_alloc(e, IMAP_SLICE * sizeof *args->uids);
    args->asked = imap_alloc(e, IMAP_SLICE * sizeof *args->asked);
    args->truths = imap_alloc(e, (args->program.leaf_count + 1) * IMAP_SLICE);
    if (!args->uids || !args->asked || !args->truths || !choose_candidates(e, &args->program))
        return imap_finish(e, IMAP_LIMIT);
    buf_append_str(&e->out, STR("* SEARCH"));
    e->run.step = step_slice;
    return true;
}
