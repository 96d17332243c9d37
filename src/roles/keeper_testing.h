#ifndef POSTERN_ROLES_KEEPER_TESTING_H
#define POSTERN_ROLES_KEEPER_TESTING_H

#include "base/testing.h"
#include "roles/keeper.h"

/*
 * For tests: the keeper as a role, with a warden, an edge, a vault, an operator and a courier that
 * are the test. Each call waits for its reply, and leaves what came in the world.
 */
struct world {
    char folder[64];
    char config[1024];
    struct loop *loop;
    struct now clock; /* stands still until a test moves it */
    struct log log;
    struct role *keeper;
    struct link *warden, *edge, *vault, *operator, * courier;
    int ready, waiting, rotated, told_key;
    struct capability_keys keys;
    struct capability_ends vault_ends, edge_ends;

    /* What the last call brought. */
    enum status_code status;
    uint8_t outcome;
    uint64_t account, credential;
    int64_t issued_ms, used_ms;
    uint64_t id;
    size_t count;
    bool has_initial, done;
    struct buf data, login, capability, text, mechanism;
};

/* ipc.table, sasl_result. */
enum { CHALLENGE, SUCCESS, WRONG, TEMPORARY, MALFORMED, ABORTED };

void open_world(struct world *w);
void close_world(struct world *w);

/* Another run of the process; the files and whoever else there is stay. */
void start_keeper(struct world *w);
void stop_keeper(struct world *w);

struct link *introduce(struct world *w, enum ipc_role self);
struct link *connect_to(struct world *w, int fd, enum ipc_role self);
void wait_for_reply(struct world *w, uint32_t call);
void set_buf(struct buf *b, struct str s);

/* A request on its way: to be waited for. on_start takes its reply. */
void on_start(void *context, enum status_code status, const struct ipc_sasl_start_out *out);
uint32_t start(struct world *w, uint64_t session, const char *mechanism, const char *peer,
               uint8_t protocol, struct str initial);
/* These give the outcome. */
uint8_t step(struct world *w, uint64_t session, struct str response);
uint8_t plain_from(struct world *w, const char *peer, uint8_t protocol, const char *user,
                   const char *password);
uint8_t plain(struct world *w, const char *user, const char *password);

/* RFC 5802 §3 from the client's side: its last message, and all but the empty one at the end. */
void scram_final(struct buf *out, struct str password, struct str bare, struct str first);
uint8_t scram_proof(struct world *w, const char *user, const char *password);

/* label NULL: the account's own. */
enum status_code set(struct world *w, uint64_t account, const char *login, const char *label,
                     const char *password);
size_t list(struct world *w, uint64_t account); /* w->id, w->used_ms: the last one's */
enum status_code remove_password(struct world *w, uint64_t account, uint64_t id);
void disable(struct world *w, uint64_t account, bool disabled);

#endif
