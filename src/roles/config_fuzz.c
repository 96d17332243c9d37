#include "base/bug.h"
#include "roles/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct conf_errors errors;
    struct config config;
    struct buf printed;
    arena_init(&arena, CONFIG_ARENA_SIZE);
    conf_errors_init(&errors, &arena);
    enum status_code status = config_parse(str_make(data, size), &arena, &config, &errors);
    if (status == STATUS_OK) {
        invariant(errors.count == 0 && config.hostname.len > 0 && config.data.len > 0);
        for (size_t i = 0; i < config.listener_count; i++)
            invariant(config.listeners[i].tls != LISTEN_TLS_DEFAULT);
    }
    invariant((status == STATUS_INVALID) == (errors.count > 0) || status == STATUS_NO_MEMORY);
    buf_init(&printed, 1 << 20);
    conf_errors_print(&errors, STR("f"), &printed);
    buf_release(&printed);
    arena_reset(&arena);
    return 0;
}
