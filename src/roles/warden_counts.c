#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/random.h"
#include "io/shared_memory.h"
#include "roles/edge_counts.h"
#include "roles/warden_state.h"

/*
 * The memory in which several edges count what they have open (edge_counts.h). It is the warden's,
 * so that it outlives each of them; the warden never looks into it.
 */
struct warden_counts {
    char seed[EDGE_COUNTS_SEED_SIZE];
    unsigned edges;
    int sections[EDGE_COUNTS_SECTIONS_MAX];
};

static enum status_code make_sections(struct warden_counts *counts, unsigned edges)
{
    enum status_code status = STATUS_OK;
    while (status == STATUS_OK && counts->edges < edges) {
        status = shared_memory_new(edge_counts_section_size(), &counts->sections[counts->edges]);
        counts->edges += status == STATUS_OK;
    }
    return status;
}

enum status_code warden_counts_open(struct warden *w, struct diag *diag)
{
    unsigned edges = w->settings->config.processes[ROLE_EDGE];
    if (edges < 2) /* it counts for itself */
        return STATUS_OK;
    w->counts = calloc(1, sizeof *w->counts);
    if (!w->counts)
        return STATUS_NO_MEMORY;
    random_bytes(w->counts->seed, sizeof w->counts->seed);
    enum status_code status = make_sections(w->counts, edges);
    if (status != STATUS_OK)
        diag_set(diag, "processes: the memory that %u edges count in: %s", edges,
                 status_name(status));
    return status;
}

void warden_counts_close(struct warden *w)
{
    for (unsigned i = 0; w->counts && i < w->counts->edges; i++)
        close(w->counts->sections[i]);
    free(w->counts);
    w->counts = NULL;
}

/* Its own to write, another's only to read. */
static enum status_code open_section(int section, bool own, int *ret_fd)
{
    if (!own)
        return shared_memory_reader(section, ret_fd);
    int fd = fcntl(section, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return status_from_errno(errno);
    *ret_fd = fd;
    return STATUS_OK;
}

enum status_code warden_counts_send(struct child *edge)
{
    const struct warden_counts *counts = edge->warden->counts;
    for (unsigned i = 0; counts && i < counts->edges; i++) {
        struct ipc_count_section_in in = {.index = (uint8_t)i};
        in.seed = str_make(counts->seed, sizeof counts->seed);
        enum status_code status = open_section(counts->sections[i], i == edge->index, &in.fd);
        if (status != STATUS_OK)
            return status;
        ipc_count_section_note(link_channel(edge->link), &in);
    }
    return STATUS_OK;
}

enum status_code warden_counts_clear(struct warden *w, unsigned index)
{
    if (!w->counts)
        return STATUS_OK;
    return shared_memory_clear(w->counts->sections[index], edge_counts_section_size());
}
