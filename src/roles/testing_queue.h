#ifndef POSTERN_ROLES_TESTING_QUEUE_H
#define POSTERN_ROLES_TESTING_QUEUE_H

#include "roles/vault_batch.h"
#include "store/queue.h"
#include "store/read.h"

/* The vault's queue, as edges fill it and a courier empties it. */
struct queue_world {
    char folder[64];
    char path[96];
    struct vault_batch *vault;
    struct db *reader;
    struct arena arena;
    struct now now;
    uint32_t requests;
    int courier; /* its address is the courier's channel */
    uint64_t alice;
    uint64_t inbox;
    bool fresh; /* of the last note to the courier */
    uint64_t ready[16];
    size_t ready_count;
    char trace[16];
};

enum { QUEUE_BODY_SIZE = 21 };

#define AT_MS 1700000000000LL
#define HOUR  (60LL * 60 * 1000)

struct queue_letter {
    const char *to[4]; /* addresses elsewhere */
    const char *via;   /* their destination */
    const char *from;
    uint64_t account;
    uint32_t user; /* of this machine */
    uint8_t notify;
    bool local; /* alice gets it too */
    struct ipc_envelope envelope;
};

/* Of an edge or an operator, and of the courier. */
struct vault_ticket queue_ticket(struct queue_world *w);
struct vault_ticket queue_courier_ticket(struct queue_world *w);
/* Commits: the reply to the last request; what the courier was told is in the world. */
struct vault_reply queue_commit(struct queue_world *w);
/* Time passes, on every clock. */
void queue_pass(struct queue_world *w, int64_t ms);
enum status_code queue_resume(struct queue_world *w, const struct ipc_held *held, size_t count);
/* A vault on the store that is there. */
void queue_open(struct queue_world *w);
int queue_set_up(void **state);
int queue_tear_down(void **state);
struct body_writer *queue_write_body(struct ipc_email *email, struct ipc_chunk *chunk);
/* Each address is a recipient of its own. */
enum status_code queue_send(struct queue_world *w, const struct queue_letter *letter);
void queue_send_one(struct queue_world *w, const char *to, const char *via);
/* What is leased lives until the next batch. */
struct ipc_lease_out queue_lease(struct queue_world *w, uint32_t fresh, uint32_t troubled,
                                 uint32_t messages);
struct ipc_lease_out queue_want(struct queue_world *w, uint64_t destination, uint32_t messages);
enum status_code queue_tell(struct queue_world *w, const struct ipc_outcomes_in *in);
void queue_outcome(struct queue_world *w, uint64_t id, uint8_t what, int64_t retry_ms);
void queue_arrive(struct queue_world *w, uint64_t destination, uint8_t what, int64_t retry_ms);
/* Its only row is to be tried later; then the courier leaves. */
void queue_give_up(struct queue_world *w, const struct ipc_lease_out *out, int64_t row_ms,
                   uint8_t state, int64_t destination_ms);
int64_t queue_count(struct queue_world *w, const char *sql);
bool queue_has_step(struct queue_world *w, const char *trace_id, const char *step);

#define ROWS(w, table) queue_count(w, "SELECT count(*) FROM " table)

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, queue_set_up, queue_tear_down)

#endif
