#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) char bytes[];
};

enum { ARENA_BLOCK_SIZE = 1024 };

void arena_init(struct arena *a, size_t budget)
{
    *a = (struct arena){.budget = budget};
}

static void free_blocks(struct arena *a, bool wipe)
{
    struct arena_block *block = a->blocks;
    while (block) {
        struct arena_block *next = block->next;
        if (wipe)
            explicit_bzero(block->bytes, block->size);
        free(block);
        block = next;
    }
    arena_init(a, a->budget);
}

void arena_reset(struct arena *a)
{
    free_blocks(a, false);
}

void arena_wipe(struct arena *a)
{
    free_blocks(a, true);
}

static struct arena_block *add_block(struct arena *a, size_t size)
{
    size_t room = size > ARENA_BLOCK_SIZE ? size : ARENA_BLOCK_SIZE;
    struct arena_block *block = malloc(sizeof *block + room);
    if (!block)
        return NULL;
    block->size = room;
    block->used = 0;
    block->next = a->blocks;
    a->blocks = block;
    return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > a->budget)
        return NULL;
    size = (size + align - 1) / align * align;
    if (size > a->budget - a->used)
        return NULL;
    struct arena_block *block = a->blocks;
    if (!block || block->size - block->used < size)
        block = add_block(a, size);
    if (!block)
        return NULL;
    void *ptr = block->bytes + block->used;
    block->used += size;
    a->used += size;
    return memset(ptr, 0, size);
}

void *arena_alloc_array(struct arena *a, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return arena_alloc(a, total);
}

bool arena_dup(struct arena *a, struct str s, struct str *ret_copy)
{
    if (s.len >= a->budget)
        return false;
    char *copy = arena_alloc(a, s.len + 1);
    if (!copy)
        return false;
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    *ret_copy = str_make(copy, s.len);
    return true;
}
