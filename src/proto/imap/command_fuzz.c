#include "proto/imap/testing_owner.h"

/* Commands of a session with a selected mailbox; the input's first byte says which one it goes on.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const starts[] = {"x ",          "x SEARCH ", "x UID SEARCH ", "x FETCH 1:* ",
                                     "x FETCH ",    "x STORE ",  "x LIST ",       "x STATUS ",
                                     "x CREATE ",   "x APPEND ", "x UID COPY ",   "x LSUB ",
                                     "x UID MOVE ", "x RENAME ", "x ID ",         "x ENABLE "};

static void say(struct owner *o, struct str bytes)
{
    do {
        bytes = str_skip(bytes, imap_server_input(o->engine, bytes, o->now));
        owner_pump(o);
        imap_server_output_done(o->engine, imap_server_output(o->engine).len);
        owner_pump(o);
    } while (!str_empty(bytes) || imap_server_output(o->engine).len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct owner o;
    struct imap_config config = {.host_name = "host", .authenticated = true};
    if (size == 0)
        return 0;
    owner_init(&o, &config);
    say(&o, STR("s SELECT INBOX\r\n"));
    say(&o, str_from_c(starts[data[0] % (sizeof starts / sizeof starts[0])]));
    say(&o, str_make(data + 1, size - 1));
    say(&o, STR("\r\nx NOOP\r\n"));
    owner_release(&o);
    return 0;
}
