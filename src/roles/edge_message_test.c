/* Large messages: back-pressure, budgets, and what becomes of those given up. */
#include "roles/edge_message.h"

#include <signal.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "base/testing.h"
#include "roles/edge_testing.h"

/* ---- Back-pressure ------------------------------------------------------------------------- */

static void a_vault_that_is_behind_holds_the_client_back(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    world_open(&w);
    world_make_noise(&noise, 1024 * 1024);
    w.chunks.hold = true;
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    struct str rest = buf_str(&noise);
    for (int i = 0; i < TURNS_MAX && w.chunks.count < 4; i++) {
        ssize_t n = send(w.client, rest.ptr, rest.len, MSG_NOSIGNAL);
        rest = str_skip(rest, n > 0 ? (size_t)n : 0);
        loop_turn(w.loop, false);
    }
    assert_int_equal(w.chunks.count, 4);
    world_turns(&w, 20);
    assert_int_equal(w.chunks.count, 4);
    w.chunks.hold = false;
    for (size_t i = 0; i < 4; i++)
        world_answer_chunk(&w, w.chunks.from, w.chunks.ids[i]);
    world_say_all(&w, rest);
    world_say(&w, "\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    assert_true(str_ends(buf_str(&w.body), STR("\r\n")));
    buf_release(&noise);
    world_close(&w);
}

static uint64_t in_flight(const struct world *w)
{
    return edge_counts_own_bodies(w->edge->counts);
}

static void bodies_beyond_the_budget_are_452(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    world_open(&w);
    world_make_noise(&noise, 128 * 1024);
    w.edge->settings->config.limits.bodies_in_flight_size = 1024 * 1024;
    /* Others have nearly all of it. */
    edge_counts_charge(w.edge->counts, NULL, 0, 768 * 1024);
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say_all(&w, buf_str(&noise));
    world_say(&w, "\r\n.\r\n");
    world_hear(&w, "452 4.3.1");
    assert_int_equal(in_flight(&w), 768 * 1024);
    edge_counts_charge(w.edge->counts, NULL, 768 * 1024, 900 * 1024);
    world_say(&w, "MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n");
    world_hear(&w, "452 4.3.1");
    edge_counts_charge(w.edge->counts, NULL, 900 * 1024, 0);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    assert_int_equal(in_flight(&w), 0);
    assert_int_equal(w.accept_count, 1);
    buf_release(&noise);
    world_close(&w);
}

/* As if the client's address had so many octets under way. */
static void charge_client(struct world *w, size_t before, size_t now)
{
    struct edge_counts *c = w->edge->counts;
    uint64_t key = edge_admit_key(c, w->edge->connections->address);
    edge_counts_charge(c, edge_counts_find(c, key), before, now);
}

static void an_address_that_has_more_than_its_share_is_452_and_others_are_not(void **state)
{
    (void)state;
    enum { MIB = 1024 * 1024 };
    struct world w;
    world_open(&w);
    w.edge->settings->config.limits.bodies_in_flight_size = 16UL * MIB;
    world_begin_mail(&w, MX);
    charge_client(&w, 0, 9UL * MIB);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "452 4.3.1");
    /* Alone it may have half. */
    charge_client(&w, 9UL * MIB, 7UL * MIB);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\r\n.\r\n");
    world_hear(&w, "250 2.0.0");
    charge_client(&w, 7UL * MIB, 9UL * MIB);
    world_say(&w, "MAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\n");
    world_hear(&w, "452 4.3.1");
    /* Whom nobody counts has no share. */
    w.edge->connections->counted = false;
    world_say(&w, "RSET\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n");
    world_hear(&w, "354 ");
    w.edge->connections->counted = true;
    charge_client(&w, 9UL * MIB, 0);
    world_close(&w);
}

/* What the vault says of a part is what the client and the log hear. */
static void a_part_that_finds_the_disk_full_is_452(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    world_open(&w);
    world_make_noise(&noise, 512 * 1024);
    w.chunk_status = STATUS_DISK_FULL;
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say_all(&w, buf_str(&noise));
    world_say(&w, "\r\n.\r\n");
    world_hear(&w, "452 4.3.1");
    assert_int_equal(w.accept_count, 0);
    world_expect_log(&w, "event=not-accepted");
    world_expect_log(&w, "why=\"disk full\"");
    buf_release(&noise);
    world_close(&w);
}

/* The next vault has nothing of what the one before was sent, and the client has to come again. */
static void a_vault_that_dies_amid_a_large_message_makes_it_451(void **state)
{
    (void)state;
    struct world w;
    struct buf noise;
    world_open(&w);
    world_make_noise(&noise, 512 * 1024);
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say_all(&w, buf_str(&noise));
    world_turns(&w, 20);
    link_close(w.vault);
    world_turns(&w, 5);
    world_start_peer(&w, &w.vault, ROLE_VAULT);
    world_turns(&w, 5);
    world_say(&w, "\r\n.\r\n");
    world_hear(&w, "451 4.3.0");
    assert_int_equal(w.accept_count, 0);
    buf_release(&noise);
    world_close(&w);
}

static void what_the_engine_refuses_is_logged(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    world_begin_mail(&w, MX);
    world_say(&w, "DATA\r\n");
    world_hear(&w, "354 ");
    world_say(&w, HEADER "x\n.\r\n.\r\n");
    world_hear(&w, "550 5.6.0");
    world_expect_log(&w, "event=not-accepted");
    world_expect_log(&w, "why=\"the message holds a bare LF\"");
    world_close(&w);
}

/* Many recipients on many connections take memory too, also where no body ever comes. */
static void recipients_beyond_the_budget_are_452(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    w.edge->settings->config.limits.bodies_in_flight_size = 1024 * 1024;
    world_begin_mail(&w, MX);
    assert_in_range(in_flight(&w), 1, 4096);
    edge_counts_charge(w.edge->counts, NULL, 0, 1024 * 1024 - 4096);
    for (int i = 0; i < 100 && in_flight(&w) <= 1024 * 1024; i++) {
        world_say(&w, "RCPT TO:<alice@example.org>\r\n");
        world_turns(&w, 10);
        world_hear(&w, in_flight(&w) <= 1024 * 1024 ? "250 2.1.5" : "452 4.3.1");
    }
    assert_in_range(in_flight(&w), 1024 * 1024 + 1, 1024 * 1024 + 4096);
    world_say(&w, "RSET\r\n");
    world_hear(&w, "250 ");
    assert_int_equal(in_flight(&w), 1024 * 1024 - 4096);
    edge_counts_charge(w.edge->counts, NULL, 1024 * 1024 - 4096, 0);
    world_close(&w);
}

/* It is one commit, which all others wait for. */
static void a_recipient_that_makes_the_message_go_too_many_ways_is_452(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    world_begin_mail(&w, MX); /* to one */
    w.members = LIMIT_MESSAGE_WAYS - 2;
    world_say(&w, "RCPT TO:<list@example.org>\r\n");
    world_hear(&w, "250 2.1.5");
    w.members = 2;
    world_say(&w, "RCPT TO:<pair@example.org>\r\n");
    world_hear(&w, "452 4.3.1");
    w.members = 1;
    world_say(&w, "RCPT TO:<last@example.org>\r\n");
    world_hear(&w, "250 2.1.5");
    world_say(&w, "RCPT TO:<next@example.org>\r\n");
    world_hear(&w, "452 4.3.1");
    /* In a transaction of their own they can go as many. */
    world_say(&w, "RSET\r\n");
    world_hear(&w, "250 ");
    world_say(&w, "MAIL FROM:<a@b.test>\r\n");
    world_hear(&w, "250 ");
    w.members = LIMIT_MESSAGE_WAYS;
    world_say(&w, "RCPT TO:<list@example.org>\r\n");
    world_hear(&w, "250 2.1.5");
    world_close(&w);
}

/* A message that is refused while the vault is behind must not hold its connection for ever. */
static void a_refused_message_gives_its_connection_free(void **state)
{
    (void)state;
    struct world w;
    struct buf noise, bdat;
    world_open(&w);
    world_make_noise(&noise, 1024 * 1024);
    buf_init(&bdat, 1024 * 1024);
    for (int i = 0; i < 110; i++)
        buf_append_str(&bdat, STR("Received: by loop; Tue, 1 Jul 2025 10:00:00 +0000\r\n"));
    buf_append_str(&bdat, STR("\r\n"));
    /* The last octets make the fourth shipment: 256 KiB at first, then 64 KiB each. */
    buf_append_str(&bdat, str_sub(buf_str(&noise), 0, 7UL * LIMIT_CHUNK_SIZE - bdat.len));
    w.chunks.hold = true;
    world_begin_mail(&w, MX);
    world_say(&w, "BDAT 458752 LAST\r\n");
    world_turns(&w, 2);
    struct str rest = buf_str(&bdat);
    for (int i = 0; i < TURNS_MAX && rest.len > 0; i++) {
        ssize_t n = send(w.client, rest.ptr, rest.len < 65536 ? rest.len : 65536, MSG_NOSIGNAL);
        rest = str_skip(rest, n > 0 ? (size_t)n : 0);
        loop_turn(w.loop, false);
    }
    world_hear(&w, "554 5.4.6");
    world_say(&w, "QUIT\r\n");
    world_hear(&w, "221 ");
    assert_int_equal(w.chunks.count, 4);
    w.chunks.hold = false;
    for (size_t i = 0; i < w.chunks.count; i++)
        world_answer_chunk(&w, w.chunks.from, w.chunks.ids[i]);
    world_turns(&w, 5);
    assert_int_equal(w.aborted_body, 1);
    buf_release(&noise);
    buf_release(&bdat);
    world_close(&w);
}

/* Processor time for a submitted header of so many octets that comes in tiny pieces. */
static double seconds_for_header(struct world *w, size_t size)
{
    struct now now = role_now(w->edge->role);
    struct ipc_envelope envelope = {0};
    struct edge_message *m = edge_message_new(w->edge, 0, STR("a@b.example"), &envelope, now);
    double before = testing_cost();
    assert_true(edge_message_begin(m, STR("Received: x\r\n"), w->edge->settings, true, now));
    for (size_t i = 0; i < size; i += 4)
        edge_message_write(m, STR(".x\r\n"));
    double seconds = testing_cost() - before;
    edge_message_free(m);
    return seconds;
}

/* Each line that begins with a dot is a piece of its own. */
static void the_end_of_a_long_header_is_looked_for_once(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    double half = seconds_for_header(&w, LIMIT_HEADER_SIZE / 2 - 4);
    double whole = seconds_for_header(&w, LIMIT_HEADER_SIZE - 8);
    assert_true(whole < 3 * half + 0.05);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vault_that_is_behind_holds_the_client_back),
        cmocka_unit_test(bodies_beyond_the_budget_are_452),
        cmocka_unit_test(an_address_that_has_more_than_its_share_is_452_and_others_are_not),
        cmocka_unit_test(a_part_that_finds_the_disk_full_is_452),
        cmocka_unit_test(a_vault_that_dies_amid_a_large_message_makes_it_451),
        cmocka_unit_test(what_the_engine_refuses_is_logged),
        cmocka_unit_test(recipients_beyond_the_budget_are_452),
        cmocka_unit_test(a_recipient_that_makes_the_message_go_too_many_ways_is_452),
        cmocka_unit_test(a_refused_message_gives_its_connection_free),
        cmocka_unit_test(the_end_of_a_long_header_is_looked_for_once),
    };
    signal(SIGPIPE, SIG_IGN); /* as every role does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
