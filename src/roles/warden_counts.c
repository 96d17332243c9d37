#include "roles/warden_counts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bug.h"
#include "io/random.h"
#include "io/shared_memory.h"
#include "roles/edge_counts.h"

struct warden_counts {
    char seed[EDGE_COUNTS_SEED_SIZE];
    unsigned edges;
    int sections[EDGE_COUNTS_SECTIONS_MAX];
};

enum status_code warden_counts_new(unsigned edges, struct warden_counts **ret_counts)
{
    invariant(edges <= EDGE_COUNTS_SECTIONS_MAX);
    struct warden_counts *counts = calloc(1, sizeof *counts);
    enum status_code status = counts ? STATUS_OK : STATUS_NO_MEMORY;
    if (counts)
        random_bytes(counts->seed, sizeof counts->seed);
    while (status == STATUS_OK && counts->edges < edges) {
        status = shared_memory_new(edge_counts_section_size(), &counts->sections[counts->edges]);
        counts->edges += status == STATUS_OK;
    }
    if (status == STATUS_OK)
        *ret_counts = counts;
    else
        warden_counts_free(counts);
    return status;
}

void warden_counts_free(struct warden_counts *counts)
{
    for (unsigned i = 0; counts && i < counts->edges; i++)
        close(counts->sections[i]);
    free(counts);
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

enum status_code warden_counts_send(const struct warden_counts *counts, struct channel *edge,
                                    unsigned index)
{
    for (unsigned i = 0; counts && i < counts->edges; i++) {
        struct ipc_count_section_in in = {.index = (uint8_t)i};
        in.seed = str_make(counts->seed, sizeof counts->seed);
        enum status_code status = open_section(counts->sections[i], i == index, &in.fd);
        if (status != STATUS_OK)
            return status;
        ipc_count_section_note(edge, &in);
    }
    return STATUS_OK;
}

enum status_code warden_counts_clear(struct warden_counts *counts, unsigned index)
{
    if (!counts)
        return STATUS_OK;
    return shared_memory_clear(counts->sections[index], edge_counts_section_size());
}
