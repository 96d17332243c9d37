#include "sim/world.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bug.h"
#include "io/socket.h"
#include "roles/courier.h"
#include "roles/edge_conn.h"
#include "roles/keeper.h"
#include "roles/mailroom.h"
#include "roles/vault.h"
#include "sim/vfs_fault.h"
#include "sim/world_tls.h"
#include "store/read.h"

/* No step moves more than this; whoever moves for longer moves for ever. */
enum { TURNS_MAX = 20000 };

static const int64_t BEGIN_MS = 1700000000000;

const char *const world_names[WORLD_ACCOUNTS] = {"alice", "bob"};
const char *const world_folders[WORLD_FOLDERS] = {"INBOX", "Archive", "Trash"};

static const struct {
    const struct role_plan *plan;
    uint8_t index;
} cast[WORLD_ROLES] = {
    [WORLD_VAULT] = {&vault_plan, 0},       [WORLD_KEEPER] = {&keeper_plan, 0},
    [WORLD_MAILROOM] = {&mailroom_plan, 0}, [WORLD_MAILROOM_2] = {&mailroom_plan, 1},
    [WORLD_COURIER] = {&courier_plan, 0},   [WORLD_EDGE] = {&edge_plan, 0},
    [WORLD_EDGE_2] = {&edge_plan, 1},
};

static const enum ipc_role pairings[][2] = {
    {ROLE_EDGE, ROLE_MAILROOM},  {ROLE_EDGE, ROLE_VAULT},       {ROLE_EDGE, ROLE_KEEPER},
    {ROLE_MAILROOM, ROLE_VAULT}, {ROLE_KEEPER, ROLE_VAULT},     {ROLE_EDGE, ROLE_COURIER},
    {ROLE_COURIER, ROLE_VAULT},  {ROLE_COURIER, ROLE_MAILROOM}, {ROLE_COURIER, ROLE_KEEPER},
};

uint64_t world_draw(struct world *w, uint64_t below)
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 7;
    w->state ^= w->state << 17;
    return (w->state * 0x2545F4914F6CDD1Du >> 33) % below;
}

/* Each step draws by itself: leaving one out changes no other's. */
void world_begin_step(struct world *w, uint64_t step)
{
    w->step = step;
    w->state = (w->seed + 1) * 0x9E3779B97F4A7C15u ^ (step + 1) * 0xD1B54A32D192ED03u;
    w->state |= w->state == 0;
    for (int i = 0; i < 4; i++)
        world_draw(w, 2);
}

static uint64_t pick(void *context, uint64_t below)
{
    return world_draw(context, below);
}

static void remove_folder(const struct world *w);

void world_wrong(const struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "world: seed %llu, step %llu: ", (unsigned long long)w->seed,
            (unsigned long long)w->step);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    va_start(args, format);
    if (w->ret_wrong)
        vsnprintf(w->ret_wrong, WORLD_WORDS, format, args);
    va_end(args);
    remove_folder(w);
    fflush(NULL);
    _exit(1); /* what is left of the world is no leak */
}

/* ---- Roles ----------------------------------------------------------------------------------
 */

static void on_ready(void *context, struct channel *from)
{
    (void)from;
    ((struct world_child *)context)->ready = true;
}

static void on_peer_broken(void *context, struct channel *from, const struct ipc_peer_broken_in *in)
{
    (void)context;
    (void)from;
    fprintf(stderr, "world: the channel to %s was given up\n",
            ipc_role_name((enum ipc_role)in->role));
    abort();
}

/* A certificate whose key could not be asked in time cannot be used; the old configuration can. */
static void on_reload_refused(void *context, struct channel *from,
                              const struct ipc_reload_refused_in *in)
{
    (void)context;
    (void)from;
    if (!str_eq(in->why, STR("a certificate cannot be used")))
        bug("a role does not take a configuration");
}

static const struct ipc_handlers handlers = {
    .ready = on_ready, .peer_broken = on_peer_broken, .reload_refused = on_reload_refused};

static void on_ended(void *owner, enum status_code why, const char *words)
{
    (void)why;
    (void)words;
    ((struct world_child *)owner)->ready = false;
}

static enum ipc_role role_of(enum world_role which)
{
    return cast[which].plan->self;
}

static struct link *link_to(struct world *w, enum ipc_role peer, enum ipc_role self, int fd,
                            struct world_child *owner)
{
    struct link *link = link_open(&(struct link_setup){.loop = w->loop,
                                                       .fd = fd,
                                                       .self = self,
                                                       .peer = peer,
                                                       .handlers = &handlers,
                                                       .context = owner,
                                                       .owner = owner,
                                                       .ended = on_ended});
    invariant(link);
    return link;
}

/* The operator's end of a channel to a role. */
struct link *world_operate(struct world *w, enum world_role which)
{
    static struct world_child own;
    int fds[2];
    if (!world_runs(w, which))
        return NULL;
    invariant(socket_pair(fds) == STATUS_OK);
    ipc_peer_note(link_channel(w->children[which].link),
                  &(struct ipc_peer_in){.role = ROLE_OPERATOR, .fd = fds[0]});
    return link_to(w, role_of(which), ROLE_OPERATOR, fds[1], &own);
}

static bool runs(const struct world_child *c)
{
    return c->role && c->ready && !role_has_ended(c->role);
}

bool world_runs(const struct world *w, enum world_role which)
{
    return runs(&w->children[which]);
}

static void introduce(struct world *w, enum world_role a, enum world_role b)
{
    int fds[2];
    if (!runs(&w->children[a]) || !runs(&w->children[b]))
        return;
    invariant(socket_pair(fds) == STATUS_OK);
    ipc_peer_note(
        link_channel(w->children[a].link),
        &(struct ipc_peer_in){.role = (uint8_t)role_of(b), .index = cast[b].index, .fd = fds[0]});
    ipc_peer_note(
        link_channel(w->children[b].link),
        &(struct ipc_peer_in){.role = (uint8_t)role_of(a), .index = cast[a].index, .fd = fds[1]});
}

/* Where the two have something to say to each other; in the order in which the warden tells them.
 */
static void pair_up(struct world *w, enum world_role a, enum world_role b)
{
    for (size_t p = 0; p < sizeof pairings / sizeof *pairings; p++) {
        if (pairings[p][0] == role_of(a) && pairings[p][1] == role_of(b))
            introduce(w, a, b);
        if (pairings[p][0] == role_of(b) && pairings[p][1] == role_of(a))
            introduce(w, b, a);
    }
}

static void configure(struct world *w, struct world_child *c)
{
    struct ipc_pem pem = {world_tls_chain()};
    ipc_config_note(link_channel(c->link), &(struct ipc_config_in){.text = str_from_c(w->config),
                                                                   .certificates = &pem,
                                                                   .certificates_count = 1});
}

/* Any turns since then belong to the others too: the world does not wait for one of them. */
static void start(struct world *w, enum world_role which)
{
    struct world_child *c = &w->children[which];
    int fds[2];
    invariant(socket_pair(fds) == STATUS_OK);
    c->ready = false;
    log_init(&c->log, w->log_fd, role_of(which));
    c->role = role_new(cast[which].plan, cast[which].index, w->loop, fds[0], &c->log);
    invariant(c->role);
    c->link = link_to(w, role_of(which), ROLE_WARDEN, fds[1], c);
    if (role_of(which) == ROLE_EDGE)
        invariant(warden_counts_send(w->counts, link_channel(c->link), cast[which].index) ==
                  STATUS_OK);
    configure(w, c);
    for (int i = 0; i < TURNS_MAX && !c->ready && !role_has_ended(c->role); i++)
        loop_turn(w->loop, false);
    if (!runs(c))
        return;
    if (role_of(which) == ROLE_EDGE)
        world_tls_join(cast[which].index, link_channel(c->link));
    for (int other = 0; other < WORLD_ROLES; other++)
        pair_up(w, which, (enum world_role)other);
}

static void write_config(struct world *w, uint64_t variant);

void world_reload(struct world *w)
{
    write_config(w, world_draw(w, 32));
    for (int i = 0; i < WORLD_ROLES; i++)
        if (runs(&w->children[i]))
            configure(w, &w->children[i]);
}

void world_note(const struct world *w, const char *format, ...)
{
    va_list args;
    if (w->log_fd != STDERR_FILENO)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void world_kill(struct world *w, enum world_role which)
{
    struct world_child *c = &w->children[which];
    role_free(c->role);
    link_close(c->link);
    *c = (struct world_child){0};
    if (role_of(which) == ROLE_EDGE)
        invariant(warden_counts_clear(w->counts, cast[which].index) == STATUS_OK);
}

/* ---- Turns ----------------------------------------------------------------------------------
 */

void world_turns(struct world *w, int count)
{
    while (count-- > 0 && loop_turn(w->loop, false))
        ;
}

static void settle(struct world *w)
{
    int turns = 0;
    while (loop_turn(w->loop, false))
        if (++turns > TURNS_MAX)
            world_wrong(w, "the roles do not come to rest");
}

void world_settle(struct world *w)
{
    settle(w);
    for (int i = 0; i < WORLD_ROLES; i++) {
        if (runs(&w->children[i]))
            continue;
        world_note(w, "%s starts again", ipc_role_name(role_of((enum world_role)i)));
        world_kill(w, (enum world_role)i);
        start(w, (enum world_role)i);
        w->restarts++;
        settle(w);
    }
}

void world_pass(struct world *w, int64_t ms)
{
    w->clock.mono_ms += ms;
    w->clock.wall_ms += ms;
}

/* ---- The disk -------------------------------------------------------------------------------
 */

static void open_reader(struct world *w)
{
    struct diag d = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/store/postern.db", w->folder);
    if (db_open(path, DB_READ, &w->reader, &d) != STATUS_OK)
        world_wrong(w, "the store cannot be read: %s", d.words);
}

void world_power_cut(struct world *w)
{
    world_note(w, "the power goes");
    disk_die();
    for (int i = 0; i < WORLD_ROLES; i++)
        world_kill(w, (enum world_role)i);
    db_close(w->reader);
    disk_power_cut(world_draw(w, UINT32_MAX));
    w->power_cuts++;
    for (int i = 0; i < WORLD_ROLES; i++)
        start(w, (enum world_role)i);
    world_settle(w);
    open_reader(w);
}

/* ---- Setting up -----------------------------------------------------------------------------
 */

void world_furnish(struct world *w)
{
    open_reader(w);
    for (int i = 0; i < WORLD_ACCOUNTS * WORLD_FOLDERS; i++) {
        struct arena arena;
        struct mailbox_record record;
        int account = i / WORLD_FOLDERS, folder = i % WORLD_FOLDERS;
        arena_init(&arena, 1 << 16);
        if (read_mailbox_by_path(w->reader, w->accounts[account], str_from_c(world_folders[folder]),
                                 &arena, &record) != STATUS_OK)
            world_wrong(w, "setting up: no %s", world_folders[folder]);
        w->boxes[account][folder] = record.id;
        arena_reset(&arena);
    }
}

/* By a name that is the same each time: it is written down, in traces. */
static void make_folder(struct world *w)
{
    snprintf(w->made_folder, sizeof w->made_folder, "/tmp/postern-world-XXXXXX");
    if (!mkdtemp(w->made_folder) || chdir(w->made_folder) != 0 || mkdir("store", 0700) != 0 ||
        mkdir("keeper", 0700) != 0)
        world_wrong(w, "no temporary folder");
    snprintf(w->folder, sizeof w->folder, "/proc/self/cwd");
}

/* Some of what may change at a reload; the roles that start anew get it too. */
static void write_config(struct world *w, uint64_t variant)
{
    int n = snprintf(
        w->config, sizeof w->config,
        "hostname mail.sim.test\ndata %s\n"
        "certificate /chain /key\n"
        "listen mx 127.0.0.1:25 {\n    tls starttls\n}\nlisten lmtp 127.0.0.1:24\n"
        "listen imap 127.0.0.1:143 {\n    tls starttls\n}\n"
        "listen pop3 127.0.0.1:110 {\n    tls starttls\n}\n"
        "listen imaps 127.0.0.1:993\nlisten pop3s 127.0.0.1:995\n"
        "listen submission 127.0.0.1:587\nlisten submissions 127.0.0.1:465\n"
        "processes edge 2\nprocesses mailroom 2\n"
        "limits {\n    connection-rate 1000000\n    greeting-delay 0s\n}\n"
        "relay-from 192.0.2.0/24\n"
        "route sink {\n    domains *\n    to unix:%s/sink\n    protocol lmtp\n}\n"
        "outbound {\n    retry %s\n    connections-per-destination %d\n"
        "    messages-per-connection %d\n    delay-notice %s\n    recipients-per-day 0\n}\n"
        "retention expunged %s\n",
        w->folder, w->folder, variant & 1 ? "1s 5s" : "1s", variant & 2 ? 1 : 20,
        variant & 4 ? 2 : 100, variant & 8 ? "10m" : "4h", variant & 16 ? "1h" : "7d");
    invariant(n > 0 && (size_t)n < sizeof w->config);
}

/* The keeper takes its file as one that is there (it makes it by other means than SQLite's). */
static void make_secrets(struct world *w)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/keeper/secrets.db", w->folder);
    invariant(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_close(db);
}

static void remove_folder(const struct world *w)
{
    static const char *const names[] = {
        "store/postern.db", "store/lock", "store", "keeper/secrets.db", "keeper", "sink", ""};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", w->made_folder, names[i]);
        remove(path);
    }
}

void world_open(struct world *w, uint64_t seed, bool chatty)
{
    *w = (struct world){.seed = seed};
    world_begin_step(w, 0);
    w->clock = (struct now){.mono_ms = 1000000, .wall_ms = BEGIN_MS};
    world_seed_random(seed);
    signal(SIGPIPE, SIG_IGN);
    disk_init();
    sqlite3_vfs_register(sqlite3_vfs_find(VFS_FAULT_NAME), 1);
    w->loop = loop_new();
    invariant(w->loop);
    loop_use_clock(w->loop, &w->clock);
    loop_use_order(w->loop, pick, w);
    w->log_fd = chatty ? STDERR_FILENO : open("/dev/null", O_WRONLY | O_CLOEXEC);
    make_folder(w);
    write_config(w, 0);
    make_secrets(w);
    world_tls_open(w);
    invariant(warden_counts_new(WORLD_EDGES, &w->counts) == STATUS_OK);
    for (int i = 0; i < WORLD_ROLES; i++)
        start(w, (enum world_role)i);
    world_settle(w);
    if (w->restarts > 0)
        world_wrong(w, "setting up: not all roles start");
}

void world_close(struct world *w)
{
    for (int i = WORLD_ROLES - 1; i >= 0; i--)
        world_kill(w, (enum world_role)i);
    db_close(w->reader);
    warden_counts_free(w->counts);
    world_tls_close();
    loop_free(w->loop);
    disk_clear();
    remove_folder(w);
    if (w->log_fd != STDERR_FILENO)
        close(w->log_fd);
}

int world_connect(struct world *w, uint32_t listener)
{
    struct socket_address peer;
    int fds[2];
    const struct world_child *c = &w->children[world_draw(w, 2) ? WORLD_EDGE : WORLD_EDGE_2];
    if (!runs(c))
        return -1;
    invariant(socket_address_parse(STR("192.0.2.1"), 4321, &peer));
    invariant(socket_pair(fds) == STATUS_OK);
    struct edge *edge = role_state(c->role);
    invariant(edge_counts_connect(edge->counts, UINT64_MAX));
    edge_conn_accept(edge, listener, fds[0], &peer);
    return fds[1];
}
