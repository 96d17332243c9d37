#include <inttypes.h>
#include <stdlib.h>

#include "base/limits.h"
#include "proto/imap/engine.h"
#include "proto/imap/reply.h"
#include "proto/imap/uses.h"

/* Commands on whole mailboxes: RFC 3501 §6.3, §6.4.2, RFC 3691 (UNSELECT), RFC 6154 (USE). */

struct mailbox_args {
    struct str name;
    struct str new_name;
    unsigned items;
    uint8_t uses;
};

static struct mailbox_args *parse_name(struct imap_server *e, struct imap_cursor *c)
{
    struct mailbox_args *args = e->run.args = imap_alloc(e, sizeof *args);
    return args && imap_need_space(c) && imap_parse_mailbox(c, &args->name) ? args : NULL;
}

bool imap_parse_one_mailbox(struct imap_server *e, struct imap_cursor *c)
{
    return parse_name(e, c);
}

bool imap_parse_rename(struct imap_server *e, struct imap_cursor *c)
{
    struct mailbox_args *args = parse_name(e, c);
    return args && imap_need_space(c) && imap_parse_mailbox(c, &args->new_name);
}

/* RFC 6154 §6: create-param =/ "USE" SP "(" [use-attr *(SP use-attr)] ")" */
static bool parse_use(struct imap_cursor *c, uint8_t *uses)
{
    if (!imap_take_word(c, "USE") || !imap_need_space(c) || !imap_need(c, '('))
        return imap_fail(c, "Unknown parameter");
    while (imap_peek(c) != ')') {
        struct str name;
        if (*uses && !imap_need_space(c))
            return false;
        if (!imap_need(c, '\\') || !imap_parse_atom(c, &name))
            return false;
        uint8_t use = imap_use_of(name);
        if (!use || (*uses & use))
            return imap_fail(c, "Unknown special use");
        *uses |= use;
    }
    return imap_need(c, ')');
}

/* create = "CREATE" SP mailbox [SP "(" create-param ")"] */
bool imap_parse_create(struct imap_server *e, struct imap_cursor *c)
{
    struct mailbox_args *args = parse_name(e, c);
    if (!args)
        return false;
    /* RFC 3501 §6.3.3: a trailing separator says that children will come. */
    if (str_ends(args->name, STR("/")))
        args->name.len--;
    if (!imap_take(c, ' '))
        return true;
    return imap_need(c, '(') && parse_use(c, &args->uses) && imap_need(c, ')');
}

/* ---- questions whose answer is a code ---- */

static bool wait_for_code(struct imap_server *e)
{
    return imap_finish(e, e->run.answer);
}

static bool ask_about(struct imap_server *e, enum imap_event_kind kind)
{
    const struct mailbox_args *args = e->run.args;
    if (str_empty(args->name) || (kind == IMAP_EVENT_RENAME && str_empty(args->new_name)))
        return imap_finish(e, IMAP_CANNOT);
    struct imap_event *q = imap_ask(e, kind);
    q->mailbox.name = args->name;
    q->mailbox.new_name = args->new_name;
    q->mailbox.uses = args->uses;
    e->run.step = wait_for_code;
    return false;
}

bool imap_step_create(struct imap_server *e)
{
    return ask_about(e, IMAP_EVENT_CREATE);
}

bool imap_step_delete(struct imap_server *e)
{
    return ask_about(e, IMAP_EVENT_DELETE);
}

bool imap_step_rename(struct imap_server *e)
{
    return ask_about(e, IMAP_EVENT_RENAME);
}

bool imap_step_subscribe(struct imap_server *e)
{
    return ask_about(e, IMAP_EVENT_SUBSCRIBE);
}

bool imap_step_unsubscribe(struct imap_server *e)
{
    return ask_about(e, IMAP_EVENT_UNSUBSCRIBE);
}

/* ---- STATUS ---- */

static const struct {
    const char *name;
    unsigned item;
    size_t offset;
} status_items[] = {
    {"MESSAGES", IMAP_STATUS_MESSAGES, offsetof(struct imap_status, messages)},
    {"RECENT", IMAP_STATUS_RECENT, offsetof(struct imap_status, recent)},
    {"UIDNEXT", IMAP_STATUS_UIDNEXT, offsetof(struct imap_status, uidnext)},
    {"UIDVALIDITY", IMAP_STATUS_UIDVALIDITY, offsetof(struct imap_status, uidvalidity)},
    {"UNSEEN", IMAP_STATUS_UNSEEN, offsetof(struct imap_status, unseen)},
};

enum { STATUS_ITEM_COUNT = sizeof status_items / sizeof status_items[0] };

static bool parse_status_item(struct imap_cursor *c, unsigned *items)
{
    for (size_t i = 0; i < STATUS_ITEM_COUNT; i++) {
        if (!imap_take_word(c, status_items[i].name))
            continue;
        *items |= status_items[i].item;
        return true;
    }
    return imap_fail(c, "Unknown status item");
}

/* status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" */
bool imap_parse_status(struct imap_server *e, struct imap_cursor *c)
{
    struct mailbox_args *args = parse_name(e, c);
    if (!args || !imap_need_space(c) || !imap_need(c, '('))
        return false;
    do {
        if (!parse_status_item(c, &args->items))
            return false;
    } while (imap_take(c, ' '));
    return imap_need(c, ')');
}

bool imap_step_status(struct imap_server *e)
{
    const struct mailbox_args *args = e->run.args;
    if (str_empty(args->name))
        return imap_finish(e, IMAP_NONEXISTENT);
    struct imap_event *q = imap_ask(e, IMAP_EVENT_STATUS);
    q->status.name = args->name;
    q->status.items = args->items;
    e->run.step = wait_for_code;
    return false;
}

void imap_answer_status(struct imap_server *e, uint64_t token, const struct imap_status *status)
{
    if (!imap_answered(e, token, IMAP_EVENT_STATUS))
        return;
    const struct mailbox_args *args = e->run.args;
    const char *gap = "";
    buf_append_str(&e->out, STR("* STATUS "));
    imap_put_mailbox(&e->out, args->name);
    buf_append_str(&e->out, STR(" ("));
    for (size_t i = 0; i < STATUS_ITEM_COUNT; i++) {
        if (!(args->items & status_items[i].item))
            continue;
        uint32_t value;
        memcpy(&value, (const char *)status + status_items[i].offset, sizeof value);
        buf_printf(&e->out, "%s%s %" PRIu32, gap, status_items[i].name, value);
        gap = " ";
    }
    buf_append_str(&e->out, STR(")\r\n"));
    imap_advance(e);
}

/* ---- SELECT and EXAMINE ---- */

static bool wait_for_selection(struct imap_server *e)
{
    if (e->run.answer != IMAP_OK)
        imap_unselect(e);
    return imap_finish(e, e->run.answer);
}

static bool ask_to_select(struct imap_server *e, bool read_only)
{
    const struct mailbox_args *args = e->run.args;
    imap_unselect(e); /* RFC 3501 §6.3.1: also where what follows fails */
    if (str_empty(args->name))
        return imap_finish(e, IMAP_NONEXISTENT);
    e->view = calloc(1, sizeof *e->view);
    if (!e->view)
        return imap_finish(e, IMAP_LIMIT);
    e->view->read_only = read_only;
    struct imap_event *q = imap_ask(e, IMAP_EVENT_SELECT);
    q->select.name = args->name;
    q->select.read_only = read_only;
    e->run.step = wait_for_selection;
    return false;
}

bool imap_step_select(struct imap_server *e)
{
    return ask_to_select(e, false);
}

bool imap_step_examine(struct imap_server *e)
{
    return ask_to_select(e, true);
}

bool imap_answer_select_uids(struct imap_server *e, uint64_t token, const uint32_t *uids,
                             size_t count)
{
    if (!token || token != e->question.token || e->question.kind != IMAP_EVENT_SELECT)
        return false;
    bool good = true;
    for (size_t i = 0; good && i < count; i++)
        good = imap_view_append(e->view, (struct imap_range){uids[i], uids[i]});
    if (!good)
        imap_answer(e, token, IMAP_LIMIT);
    return good;
}

static void put_flag_lists(struct imap_server *e, const struct imap_selection *s)
{
    struct buf *out = &e->out;
    buf_append_str(out, STR("* FLAGS "));
    imap_put_flags(out, IMAP_FLAGS_ALL, s->keywords, false);
    buf_append_str(out, STR("\r\n* OK [PERMANENTFLAGS "));
    if (e->view->read_only) {
        buf_append_str(out, STR("()"));
    } else {
        imap_put_flags(out, IMAP_FLAGS_ALL, s->keywords, false);
        if (!s->keywords_fixed) {
            buf_truncate(out, out->len - 1);
            buf_append_str(out, STR(" \\*)"));
        }
    }
    buf_append_str(out, STR("] Flags that are kept\r\n"));
}

/* RFC 3501 §6.3.1 lists what must be said. */
void imap_answer_select(struct imap_server *e, uint64_t token,
                        const struct imap_selection *selection)
{
    if (!imap_answered(e, token, IMAP_EVENT_SELECT))
        return;
    struct imap_view *v = e->view;
    uint32_t unseen = selection->first_unseen_uid;
    v->read_only |= selection->read_only;
    v->recent_from = selection->recent_from;
    v->told = v->count;
    uint32_t recent = v->recent_from ? v->count + 1 - imap_view_seq_from(v, v->recent_from) : 0;
    put_flag_lists(e, selection);
    buf_printf(&e->out, "* %" PRIu32 " EXISTS\r\n* %" PRIu32 " RECENT\r\n", v->count, recent);
    if (unseen && imap_view_seq(v, unseen))
        buf_printf(&e->out, "* OK [UNSEEN %" PRIu32 "] First unseen message\r\n",
                   imap_view_seq(v, unseen));
    buf_printf(&e->out, "* OK [UIDVALIDITY %" PRIu32 "] UIDs are valid\r\n",
               selection->uidvalidity);
    buf_printf(&e->out, "* OK [UIDNEXT %" PRIu32 "] Next UID\r\n", selection->uidnext);
    buf_printf(&e->run.code_text, v->read_only ? "READ-ONLY" : "READ-WRITE");
    imap_set_state(e, IMAP_STATE_SELECTED);
    imap_advance(e);
}

/* ---- CLOSE and UNSELECT ---- */

bool imap_step_unselect(struct imap_server *e)
{
    imap_unselect(e);
    return imap_finish(e, IMAP_OK);
}

/* RFC 3501 §6.4.2: no EXPUNGE is sent, so what was removed is forgotten with the view. */
bool imap_step_close(struct imap_server *e)
{
    if (e->view->read_only)
        return imap_step_unselect(e);
    imap_ask(e, IMAP_EVENT_EXPUNGE)->expunge.all = true;
    e->run.step = imap_step_unselect;
    return false;
}
